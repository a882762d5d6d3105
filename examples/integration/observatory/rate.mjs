// Usage: node rate.mjs HOST HTTP-PORT HTTPS-PORT PATH…
//
// rate.mjs prints one JSON object per path: the score and grade of the HTTP
// Observatory with its results, and the findings of the CSP Evaluator.
import { existsSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CspEvaluator } from "csp_evaluator/dist/evaluator.js";
import { CspParser } from "csp_evaluator/dist/parser.js";
import { ALL_TESTS } from "@mdn/mdn-http-observatory/src/constants.js";
import { MINIMUM_SCORE_FOR_EXTRA_CREDIT } from "@mdn/mdn-http-observatory/src/grader/charts.js";
import { getGradeForScore, getScoreModifier } from "@mdn/mdn-http-observatory/src/grader/grader.js";
import { retrieve } from "@mdn/mdn-http-observatory/src/retriever/retriever.js";

// The list of preloaded hosts is downloaded by a script that is not run. The host
// of a test is in no such list.
const preloaded = fileURLToPath(new URL("conf/hsts-preload.json", import.meta.resolve("@mdn/mdn-http-observatory/package.json")));
if (!existsSync(preloaded)) writeFileSync(preloaded, "{}");

const [host, httpPort, httpsPort, ...paths] = process.argv.slice(2);
for (const path of paths) {
  const site = await retrieve(host, { httpPort, httpsPort, path });
  let all = 100, deductions = 100;
  const results = {};
  for (const test of ALL_TESTS) {
    const { constructor, result } = test(site);
    const modifier = getScoreModifier(result);
    results[constructor.name] = `${result} ${modifier}`;
    all += modifier;
    deductions += Math.min(0, modifier);
  }
  const { score, grade } = getGradeForScore(deductions >= MINIMUM_SCORE_FOR_EXTRA_CREDIT ? all : deductions);
  const { status, headers } = site.responses.auto;
  const policy = headers["content-security-policy"] ?? "";
  const findings = new CspEvaluator(new CspParser(policy).csp).evaluate()
    .map((f) => `${f.directive} ${f.value ?? ""}: ${f.description}`);
  console.log(JSON.stringify({ path, status, score, grade, results, policy, findings }));
}
process.exit(0); // the Observatory keeps connections open
