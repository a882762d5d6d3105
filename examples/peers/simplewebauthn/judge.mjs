// Reads one JSON object a line: a registration or an assertion, and what it is
// verified against. Writes one line for each: "ok", or the error.
import { createInterface } from "node:readline";
import { verifyAuthenticationResponse, verifyRegistrationResponse } from "@simplewebauthn/server";

for await (const line of createInterface({ input: process.stdin })) {
	const { kind, text, challenge, origin, rpID, id, key } = JSON.parse(line);
	const expected = { expectedChallenge: challenge, expectedOrigin: origin, expectedRPID: rpID, requireUserVerification: kind === "get" };
	let verdict = "ok";
	try {
		const response = JSON.parse(Buffer.from(text, "base64").toString("utf8"));
		const { verified } = kind === "create"
			? await verifyRegistrationResponse({ response, ...expected, supportedAlgorithmIDs: [-7, -8, -257] })
			: await verifyAuthenticationResponse({ response, ...expected, credential: { id, publicKey: Buffer.from(key, "base64"), counter: 0 } });
		if (!verified) verdict = "not verified";
	} catch (error) {
		verdict = `refused: ${error.message}`.replace(/\s+/g, " ").slice(0, 200);
	}
	console.log(verdict);
}
