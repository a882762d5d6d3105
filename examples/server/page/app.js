"use strict";
// The page of the reference server. Tokens are in cookies that this script cannot
// read. Text of users becomes text nodes; only comments that the server has cleaned
// become HTML, by the one Trusted Types policy that the page may have.
(() => {
  const $ = (id) => document.getElementById(id);
  const policy = window.trustedTypes ? trustedTypes.createPolicy("comments", { createHTML: (s) => s }) : { createHTML: (s) => s };
  const tabs = new BroadcastChannel("session");
  const home = document.body.dataset.home;
  let secret = "", me = null, skew = 0, refreshing = null, conditional = null;

  // ---- small helpers ----
  function el(tag, props = {}, ...children) {
    const e = Object.assign(document.createElement(tag), props);
    e.append(...children);
    return e;
  }
  const fill = (e, ...children) => (e.replaceChildren(...children), e);
  const when = (s) => (s ? new Date(s).toLocaleString() : "never");
  function say(text, bad) {
    $("status").textContent = text;
    $("status").className = bad ? "bad" : "";
  }

  // ---- requests ----
  const form = (fields) => ({ headers: { "Content-Type": "application/x-www-form-urlencoded" }, body: new URLSearchParams(fields) });
  const json = (value) => ({ headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });
  async function send(method, path, options = {}) {
    const r = await fetch(path, { method, credentials: "same-origin", cache: "no-store", redirect: "error", ...options });
    const text = (r.headers.get("Content-Type") || "").startsWith("image/") ? "" : await r.clone().text();
    let body = null;
    try { body = JSON.parse(text); } catch { /* not JSON */ }
    return { ok: r.ok, status: r.status, text, body, raw: r, code: body && (body.code || body.error), detail: body && (body.detail || body.error_description || "") };
  }
  // The access token lives a quarter of an hour: a request that comes later refreshes
  // it once. Several requests at once share the refresh.
  async function call(method, path, options) {
    let r = await send(method, path, options);
    if (r.status === 401 && me && (r.code === "unauthenticated" || r.code === "invalid_token")) {
      refreshing ||= send("POST", "/session/refresh", form({})).finally(() => { refreshing = null; });
      if ((await refreshing).ok) r = await send(method, path, options);
      else leave("Your session has ended.");
    }
    return r;
  }
  async function act(method, path, options, done) {
    const r = await call(method, path, options);
    if (r.ok) say(typeof done === "function" ? done(r) : done);
    else if (r.code === "insufficient_user_authentication") say("This needs a newer or a stronger sign-in: step up with a code or a passkey, or sign in again. " + r.detail, true);
    else if (r.status === 429) say("Too many attempts. Try again in " + r.raw.headers.get("Retry-After") + " seconds.", true);
    else say(r.status + " " + (r.code || "") + ": " + (r.detail || "refused"), true);
    return r;
  }
  function on(id, event, handler) {
    $(id).addEventListener(event, async (e) => {
      e.preventDefault();
      const button = e.submitter || (e.currentTarget.tagName === "BUTTON" ? e.currentTarget : null);
      if (button) button.disabled = true;
      try { await handler(e, Object.fromEntries(e.target.tagName === "FORM" ? new FormData(e.target) : [])); }
      catch (error) { say(error.name === "NotAllowedError" ? "The passkey was not used." : String(error.message || error), true); }
      finally { if (button) button.disabled = false; }
    });
  }
  const clear = (id) => $(id).querySelectorAll("input[type=password],input[name=code]").forEach((i) => { i.value = ""; });
  const button = (text, label, press) => {
    const b = el("button", { type: "button", textContent: text, className: "small" });
    if (label) b.setAttribute("aria-label", text + ": " + label);
    b.addEventListener("click", async () => { b.disabled = true; try { await press(); } catch (e) { say(String(e.message || e), true); } finally { b.disabled = false; } });
    return b;
  };
  const row = (...cells) => el("tr", {}, ...cells.map((c) => el("td", {}, ...[c].flat())));

  // ---- passkeys ----
  const canPasskey = () => window.PublicKeyCredential && PublicKeyCredential.parseRequestOptionsFromJSON && location.origin === home;
  async function assertion(path, more = {}) {
    if (conditional) conditional.abort();
    const r = await call("POST", path);
    if (!r.ok) throw new Error("No options: " + r.status);
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(r.body);
    return JSON.stringify((await navigator.credentials.get({ publicKey, ...more })).toJSON());
  }
  const jsonText = (text) => ({ headers: { "Content-Type": "application/json" }, body: text });
  async function byPasskey(more) {
    const r = await act("POST", "/session/passkey", jsonText(await assertion("/passkeys/sign-in", more)), "Signed in with a passkey.");
    if (r.ok) await enter();
    return r.ok;
  }
  // The browser offers passkeys while the username is typed. A challenge lives ten
  // minutes, so it is replaced every five.
  async function offer() {
    if (!canPasskey() || !(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
    const mine = new AbortController();
    try {
      const r = await send("POST", "/passkeys/sign-in");
      if (!r.ok || me) return;
      conditional = mine;
      const timer = setTimeout(() => { mine.abort(); offer(); }, 5 * 60 * 1000);
      mine.signal.addEventListener("abort", () => clearTimeout(timer));
      const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(r.body);
      const credential = await navigator.credentials.get({ publicKey, mediation: "conditional", signal: mine.signal });
      const answer = await act("POST", "/session/passkey", jsonText(JSON.stringify(credential.toJSON())), "Signed in with a passkey.");
      conditional = null;
      if (answer.ok) await enter();
    } catch { /* aborted: another way was chosen */ }
  }

  // ---- signing in ----
  async function signedIn(r) {
    if (r.ok) { await enter(); return; }
    if (r.code === "mfa_required") {
      say("The first step is right.");
      $("f-second").hidden = false;
      $("f-password").hidden = true;
      $("f-second").elements.code.focus();
    }
  }
  on("f-password", "submit", async (e, f) => { const r = await act("POST", "/session/token", form(f), "Signed in."); clear("f-password"); await signedIn(r); });
  on("f-second", "submit", async (e, f) => { const r = await act("POST", "/session/mfa", form(f), "Signed in with a second factor."); clear("f-second"); await signedIn(r); });
  on("second-passkey", "click", async () => signedIn(await act("POST", "/session/mfa", form({ code: await assertion("/passkeys/second-factor") }), "Signed in with a password and a passkey.")));
  on("by-passkey", "click", async () => { if (!canPasskey()) return say("Passkeys work at " + home + " only, in a browser that has them.", true); await byPasskey(); });
  on("f-mail", "submit", async (e, f) => { const r = await act("POST", e.submitter.value, form(f), "If the address is known, a message is on its way."); if (r.ok) setTimeout(letters, 400); });
  on("f-code", "submit", async (e, f) => { const r = await act("POST", "/session/mail", form(f), "Signed in by mail."); clear("f-code"); await signedIn(r); });
  on("f-register", "submit", async (e, f) => { const r = await act("POST", "/users/", json(f), "Registered. Now sign in."); if (r.ok) { $("f-password").elements.username.value = f.username; clear("f-register"); } });
  on("use-link", "click", async () => {
    const r = await act("POST", "/session/mail", form({ token: secret }), "Signed in by mail.");
    $("link").hidden = true;
    secret = "";
    if (!r.ok) $("out").hidden = false;
    await signedIn(r);
  });

  // ---- leaving: in every tab, and nothing of the session stays on the page ----
  function leave(text) {
    if (!me) return;
    me = null;
    tabs.postMessage("out");
    document.title = "Signed out";
    show(false);
    say(text);
  }
  on("logout", "click", async () => { const r = await send("POST", "/session/logout"); if (r.ok) leave("Signed out."); else say("Signing out failed: " + r.status + ". You are still signed in.", true); });
  on("everywhere", "click", async () => { const r = await act("POST", "/logout/all", {}, "Signed out everywhere."); if (r.ok) { await send("POST", "/session/logout"); leave("Signed out everywhere."); } });
  tabs.addEventListener("message", (e) => {
    if (e.data === "out" && me) { me = null; show(false); say("Signed out in another tab."); }
    if (e.data === "in" && !me) enter();
  });
  addEventListener("pageshow", (e) => { if (e.persisted) { me = null; show(false); enter(); } });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && me) session(); });

  const dynamic = ["claims", "sessions", "answer", "qr", "recovery", "passkeys", "key", "keys", "audit", "comments", "users", "policy", "diff", "diff-summary", "letters", "name", "address", "codes-state"];
  function show(inside) {
    if (!inside) for (const id of dynamic) $(id).replaceChildren();
    for (const f of document.querySelectorAll("#in form,#out form")) f.reset();
    $("in").hidden = !inside;
    $("out").hidden = inside || !!secret;
    $("link").hidden = inside || !secret;
    $("who").hidden = !inside;
    $("f-second").hidden = true;
    $("f-password").hidden = false;
    $("f-confirm").hidden = true;
    $("diff-region").hidden = true;
    $("outbox").hidden = document.body.dataset.outbox !== "true";
    $("title").textContent = inside ? "Hello, " + me.username : "Try the library";
    const parts = inside ? [...document.querySelectorAll("#in > section")] : [...document.querySelectorAll("#out > section")];
    fill($("nav"), ...parts.filter((s) => s.id !== "s-admin" || isAdmin()).map((s) => {
      s.id ||= s.getAttribute("aria-labelledby").replace("h-", "s-");
      return el("li", {}, el("a", { href: "#" + s.id, textContent: s.querySelector("h2").textContent.split(/[:,]/)[0] }));
    }));
    if (!inside) offer();
  }
  const isAdmin = () => me && me.roles.includes("admin");

  // ---- the session ----
  async function session() {
    const r = await call("GET", "/session/");
    if (!r.ok) return r.status === 401 ? leave("Your session has ended.") : undefined;
    me = r.body;
    skew = new Date(me.now) - Date.now();
    $("name").textContent = me.username;
    const claims = { Username: me.username, Subject: me.subject, Session: me.session, "Began by": me.began, Factors: me.factors.join(" "), Roles: me.roles.join(" "), Scopes: me.scopes.join(" "), "Signed in": when(me.auth_time), "Issued": when(me.issued_at) };
    fill($("claims"), ...Object.entries(claims).flatMap(([k, v]) => [el("dt", { textContent: k }), el("dd", { textContent: v || "–" })]));
    $("codes-state").textContent = me.codes ? "Codes are set up. Setting up again replaces them." : "Not set up.";
    $("f-disable").hidden = $("f-stepup").hidden = !me.codes;
    $("address").textContent = me.email ? me.email + (me.email_verified ? " (verified)" : " (not verified)") : "No address.";
    $("verify").hidden = !me.email || me.email_verified;
    $("passkey-hint").textContent = canPasskey() ? "" : "Passkeys need a browser that has them, and the address " + home + ".";
    $("s-admin").hidden = $("audit-all").hidden = !isAdmin();
    tick();
  }
  function tick() {
    if (!me) return;
    const left = Math.max(0, (new Date(me.expires) - Date.now() - skew) / 1000), all = (new Date(me.expires) - new Date(me.issued_at)) / 1000;
    $("left").textContent = left ? "ends in " + Math.floor(left / 60) + ":" + String(Math.floor(left % 60)).padStart(2, "0") : "has ended; the next request refreshes it";
    $("life").value = left / all;
  }
  setInterval(tick, 1000);
  on("refresh", "click", async () => { const r = await act("POST", "/session/refresh", form({}), "There is a new pair of tokens; the old refresh token is spent."); if (r.ok) await session(); });

  async function sessions() {
    const r = await call("GET", "/sessions/");
    if (!r.ok) return;
    fill($("sessions"), ...r.body.map((s) => row([when(s.created), el("div", { className: "soft", textContent: when(s.used) })], [(s.began || "?") + (s.factors.length ? " (" + s.factors.join(" ") + ")" : ""), el("div", { className: "soft", textContent: s.address, title: s.user_agent })],
      s.current ? "this one" : button("End", "session of " + when(s.created), async () => { await act("DELETE", "/sessions/" + s.id, {}, "The session is ended. Its tokens are refused at once."); await sessions(); }))));
  }

  on("others", "click", async () => { const r = await act("DELETE", "/sessions/", {}, "Every other session is ended."); if (r.ok) await sessions(); });

  // ---- routes ----
  const routes = [["GET", "/users/me"], ["GET", "/users/mod"], ["GET", "/items/"], ["POST", "/items/", () => json({ name: "a chair" })], ["POST", "/moderate/", () => ({})], ["GET", "/admin/users"], ["DELETE", "/users/999999", () => ({})],
    ["DELETE", "/users/mod/2fa", () => ({})], ["GET", "/protected/"], ["GET", "/keys/"], ["GET", "/passkeys/"], ["GET", "/readyz"], ["GET", "/.well-known/oauth-authorization-server"]];
  const shownHeaders = ["content-type", "www-authenticate", "ratelimit", "ratelimit-policy", "retry-after", "cache-control", "location", "allow", "content-security-policy", "strict-transport-security", "x-content-type-options", "referrer-policy", "permissions-policy"];
  function answer(method, path, r) {
    const headers = shownHeaders.filter((h) => r.raw.headers.has(h)).map((h) => h + ": " + r.raw.headers.get(h)).join("\n");
    const body = r.body ? JSON.stringify(r.body, null, 1) : r.text;
    fill($("answer"), el("p", {}, el("b", { textContent: method + " " + path + " → " }), el("b", { id: "answer-status", className: r.ok ? "good" : "badly", textContent: r.status + " " + r.raw.statusText })),
      el("pre", { textContent: headers }), el("pre", { id: "answer-body", textContent: body.length > 6000 ? body.slice(0, 6000) + "…" : body }));
  }
  fill($("routes"), ...routes.map(([method, path, options]) => button(method + " " + path, "", async () => answer(method, path, await call(method, path, options ? options() : {})))));

  // ---- the limit ----
  let reset = 0;
  on("limited", "click", async () => {
    const r = await send("GET", "/limited/");
    const field = r.raw.headers.get("RateLimit") || "", left = (field.match(/r=(\d+)/) || [])[1], wait = Number(r.raw.headers.get("Retry-After") || 0);
    if (left !== undefined) { $("quota").value = left; $("quota-text").textContent = left + " of 5"; }
    if (r.status === 429) { $("quota").value = 0; $("quota-text").textContent = "0 of 5"; reset = Date.now() + wait * 1000; count(); } else $("limit-hint").textContent = "200: " + r.body.message;
  });
  function count() {
    const s = Math.ceil((reset - Date.now()) / 1000);
    if (s <= 0) { $("limit-hint").textContent = "Try again now."; return; }
    $("limit-hint").textContent = "429: too many requests. Again in " + s + " s.";
    setTimeout(count, 500);
  }

  // ---- one-time codes ----
  let picture = "";
  async function setup(type) {
    const r = await act("POST", "/2fa/setup/", { headers: { Accept: type } }, "Scan it with an authenticator app, then confirm with a code.");
    if (!r.ok) return;
    if (picture) URL.revokeObjectURL(picture);
    if (type === "image/png") {
      picture = URL.createObjectURL(await r.raw.blob());
      fill($("qr"), el("img", { src: picture, alt: "QR code with the secret for an authenticator app" }));
    } else fill($("qr"), el("p", { textContent: "Key for the app (six digits, 30 seconds):" }), el("code", { id: "secret", className: "secret", textContent: r.body.secret }));
    $("f-confirm").hidden = false;
    $("f-confirm").elements.code.focus();
  }
  on("setup", "click", () => setup("image/png"));
  on("setup-text", "click", () => setup("application/json"));
  on("f-confirm", "submit", async (e, f) => {
    const r = await act("POST", "/2fa/confirm/", form(f), "The factor is set up. The next sign-in asks for a code.");
    clear("f-confirm");
    if (!r.ok) return;
    $("f-confirm").hidden = true;
    fill($("qr"));
    fill($("recovery"), el("p", { textContent: "Recovery codes, shown once:" }), el("pre", { textContent: r.body.recovery_codes.join("\n") }));
    await session();
  });
  on("f-stepup", "submit", async (e, f) => { const r = await act("POST", "/session/step-up", form(f), "This is a new session, with the second factor."); clear("f-stepup"); if (r.ok) await all(); });
  on("f-disable", "submit", async (e, f) => {
    const r = await act("DELETE", "/2fa/", form(/^[0-9]{6}$/.test(f.proof) ? { code: f.proof } : { password: f.proof }), "The factor is removed.");
    e.target.reset();
    if (r.ok) { fill($("recovery")); await session(); }
  });

  // ---- passkeys of the account ----
  const proof = async (password) => password || (await assertion("/passkeys/step-up"));
  async function passkeys() {
    const r = await call("GET", "/passkeys/");
    if (!r.ok) return;
    fill($("passkeys"), ...r.body.passkeys.map((k) => row(k.name + (k.sign_in ? "" : " (second factor only)"), when(k.used), [
      button("Rename", k.name, async () => { const name = prompt("New name", k.name); if (name) { await act("PATCH", "/passkeys/" + k.id, json({ name }), "Renamed."); await passkeys(); } }),
      button("Remove", k.name, async () => {
        const r = await act("DELETE", "/passkeys/" + k.id, json({ proof: await proof($("f-passkey").elements.proof.value) }), "The passkey is removed.");
        clear("f-passkey");
        if (r.ok) { await passkeys(); await session(); }
      })])));
  }
  on("f-passkey", "submit", async (e, f) => {
    if (!canPasskey()) return say("Passkeys work at " + home + " only, in a browser that has them.", true);
    const options = await act("POST", "/passkeys/options", json({ proof: await proof(f.proof) }), "Follow the browser.");
    clear("f-passkey");
    if (!options.ok) return;
    const created = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options.body) });
    const r = await act("POST", "/passkeys/", json({ ...created.toJSON(), name: f.name }), "The passkey is added. It signs in alone, and a password alone does not any more.");
    if (r.ok) { await passkeys(); await session(); }
  });
  on("stepup-passkey", "click", async () => { const r = await act("POST", "/session/step-up", form({ code: await assertion("/passkeys/step-up") }), "This is a new session, with the passkey."); if (r.ok) await all(); });

  // ---- API keys ----
  async function keys() {
    const r = await call("GET", "/keys/");
    if (!r.ok) return;
    fill($("keys"), ...r.body.map((k) => row(k.name, k.revoked_at ? "revoked" : k.is_active ? "until " + new Date(k.expires_at).toLocaleDateString() : "ended",
      k.revoked_at ? "" : button("Revoke", k.name, async () => { await act("DELETE", "/keys/" + k.id, {}, "The key is revoked."); await keys(); }))));
  }
  on("f-key", "submit", async (e, f) => {
    const r = await act("POST", "/keys/", json({ name: f.name, scopes: me.scopes.filter((s) => s === "read:items") }), "The key is made. It is not shown again.");
    if (!r.ok) return;
    const key = r.body.key;
    fill($("key"), el("p", { textContent: "The key, shown once:" }), el("code", { className: "secret", textContent: key }),
      button("Use it at /protected/", "", async () => answer("GET", "/protected/", await send("GET", "/protected/", { headers: { "X-API-Key": key }, credentials: "omit" }))),
      button("Hide it", "", async () => fill($("key"))));
    await keys();
  });

  // ---- the audit trail ----
  async function audit(path = "/users/me/audit") {
    const r = await call("GET", path + "?limit=50");
    if (!r.ok) return;
    fill($("audit"), ...r.body.map((e) => {
      const { outcome, request } = e.event || e;
      const c = (e.event && e.event.changes) || e;
      const details = [c.network, c.factor, e.passkey || (e.event && c.passkey && c.name), ...(c.proven || c.factors || [])].filter(Boolean);
      return row(when(e.time), [e.name, ...details].join(" "), outcome || "–", e.by || e.subject || "nobody", e.address || (request && request.remote_addr) || "–");
    }));
  }
  on("audit-own", "click", () => audit());
  on("audit-all", "click", () => audit("/audit/"));

  // ---- comments ----
  const attacks = ["<script>alert(1)<\/script>", "<img src=x onerror=alert(1)>", '<a href="javascript:alert(1)">click</a>', "<svg><script>alert(1)<\/script></svg>", "<b>bold</b> and <i>italic</i>"];
  fill($("attacks"), ...attacks.map((a) => button(a, "", async () => { $("f-comment").elements.content.value = a; $("f-comment").elements.content.focus(); })));
  async function comments() {
    const r = await call("GET", "/comments/");
    if (!r.ok) return;
    const html = (s) => { const e = el("div"); e.innerHTML = policy.createHTML(s); return e; };
    fill($("comments"), ...r.body.map((c) => {
      const item = el("li", {}, el("b", { textContent: c.author }), el("span", { className: "soft", textContent: " · " + when(c.created) + " " }), html(c.html), el("details", {}, el("summary", { textContent: "As text" }), html(c.content)));
      item.lastChild.lastChild.className = "text";
      if (c.author === me.username || me.roles.includes("moderator") || isAdmin()) item.append(button("Delete", "comment of " + c.author, async () => { await act("DELETE", "/comments/" + c.id, {}, "Deleted."); await comments(); }));
      return item;
    }));
  }
  on("f-comment", "submit", async (e, f) => { const r = await act("POST", "/comments/", json(f), "Posted."); if (r.ok) { e.target.reset(); await comments(); } });

  // ---- the account ----
  on("verify", "click", async () => { const r = await act("POST", "/email/verify", form({}), "A link is on its way. It works in this session."); if (r.ok) setTimeout(letters, 400); });
  on("f-email", "submit", async (e, f) => { const r = await act("POST", "/email/", form(f), "A link is on its way to the new address."); clear("f-email"); if (r.ok) setTimeout(letters, 400); });
  on("f-newpassword", "submit", async (e, f) => { const r = await act("POST", "/users/me/password", json(f), "The password is changed; other sessions and all API keys are ended."); clear("f-newpassword"); if (r.ok) await all(); });

  // ---- administration ----
  async function users() {
    if (!isAdmin()) return;
    const [list, rights] = await Promise.all([call("GET", "/admin/users"), call("GET", "/admin/policy")]);
    if (!list.ok) return void fill($("users"), row(list.status + " " + list.code));
    const at = (u, more) => "/users/" + encodeURIComponent(u.username) + more;
    const then = (u, text, method, path, options = {}) => button(text, u.username, async () => { const r = await act(method, path, options, text + ": " + u.username + "."); if (r.ok) { await users(); setTimeout(letters, 400); } });
    fill($("users"), ...list.body.map((u) => row(u.username, [...u.roles, ...u.permissions].join(" ") || "–", u.disabled ? "disabled" : "active", u.id === me.id ? "you" : [
      u.disabled ? then(u, "Enable", "POST", at(u, "/enable")) : then(u, "Disable", "POST", at(u, "/disable")),
      u.roles.includes("moderator") ? then(u, "No moderator", "PUT", at(u, "/roles"), json({ roles: u.roles.filter((r) => r !== "moderator"), permissions: u.permissions })) : then(u, "Make moderator", "PUT", at(u, "/roles"), json({ roles: [...u.roles, "moderator"], permissions: u.permissions })),
      then(u, "Mail a reset", "POST", at(u, "/reset-password")), then(u, "Remove factors", "DELETE", at(u, "/2fa")), then(u, "Delete", "DELETE", "/users/" + u.id)])));
    if (!rights.ok) return;
    const roles = [...new Set(rights.body.map((r) => r.role))], names = [...new Set(rights.body.map((r) => r.permission))];
    const find = (role, name) => rights.body.find((r) => r.role === role && r.permission === name);
    fill($("policy"), el("thead", {}, el("tr", {}, el("th", { textContent: "Permission" }), ...roles.map((r) => el("th", { textContent: r })))),
      el("tbody", {}, ...names.map((n) => el("tr", {}, el("th", { scope: "row", textContent: n }), ...roles.map((role) => { const r = find(role, n); return el("td", {}, el("span", { className: r.allowed ? "good" : "soft", textContent: r.allowed ? "yes" : "no" }), el("div", { className: "soft", textContent: r.why })); })))));
  }
  on("f-invite", "submit", async (e, f) => { const r = await act("POST", "/invitations/", json(f), "Invited."); if (r.ok) { e.target.reset(); setTimeout(letters, 400); } });

  function differences(changes) {
    const of = (what) => changes.filter((c) => c.change === what).length;
    $("diff-summary").textContent = changes.length ? "Gained: " + of("gains") + ", lost: " + of("loses") + ", otherwise different: " + of("differs") + "." : "The policies grant the same.";
    $("diff-region").hidden = !changes.length;
    fill($("diff"), ...changes.map((c) => row(c.role, el("span", { className: { gains: "good", loses: "badly" }[c.change] || "", textContent: c.change }), c.permission, c.before, c.after)));
  }
  on("f-diff", "submit", async (e, f) => {
    fill($("diff")); $("diff-summary").textContent = ""; $("diff-region").hidden = true;
    const r = await act("POST", "/admin/policy/diff", json(f.before ? { before: f.before, after: f.after } : { after: f.after }), "The policies are compared.");
    if (r.ok) differences(r.body);
  });
  for (const name of ["before", "after"]) {
    on("diff-" + name, "change", async (e) => {
      const file = e.target.files[0];
      if (file) $("f-diff").elements[name].value = await file.text();
    });
  }

  // ---- the outbox ----
  async function letters() {
    if (document.body.dataset.outbox !== "true") return;
    const r = await send("GET", "/outbox/");
    if (!r.ok) return;
    fill($("letters"), ...(r.body.length ? r.body : []).map((l) => {
      const item = el("li", {}, el("b", { textContent: l.to }), el("span", { className: "soft", textContent: " · " + l.purpose + " · " + when(l.at) }), el("div", { textContent: l.text }));
      if (l.code) item.append(el("code", { className: "secret code", textContent: l.code }));
      if (l.link) item.append(el("a", { href: new URL(l.link).origin === location.origin ? l.link : "#", textContent: "Open the link" }));
      return item;
    }));
    if (!r.body.length) fill($("letters"), el("li", { textContent: "There are no messages." }));
  }
  on("look", "click", letters);

  // ---- start ----
  async function all() {
    await session();
    if (me) await Promise.all([sessions(), passkeys(), keys(), audit(), comments(), users()]);
  }
  async function enter() {
    let r = await send("GET", "/session/");
    if (r.status === 401 && (await send("POST", "/session/refresh", form({}))).ok) r = await send("GET", "/session/");
    if (!r.ok) { show(false); return; }
    const before = me;
    me = r.body;
    if (conditional) conditional.abort();
    document.title = me.username + " – Gatewright's reference server";
    show(true);
    if (!before) tabs.postMessage("in");
    await all();
    await letters();
  }
  if (location.pathname === "/account/sign-in-link") {
    secret = location.hash.slice(1);
    history.replaceState(null, "", "/");
  }
  if (secret) show(false); else enter();
})();
