package headers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/headers"
)

// A mistake is a configuration that a constructor must not take: the error
// names the field, what it holds and what it should.
type mistake struct {
	build func() error
	parts []string
}

func inConfig(c headers.Config, parts ...string) mistake {
	return mistake{func() error { _, err := headers.New(c); return err }, parts}
}

// inScripts is a mistake in one source of script-src.
func inScripts(source string, parts ...string) mistake {
	c := headers.CSP{DefaultSrc: []string{headers.None}, ScriptSrc: []string{source}}
	return inConfig(headers.Config{CSP: &c}, append([]string{"Config.CSP.ScriptSrc"}, parts...)...)
}

func inCSP(c headers.CSP, parts ...string) mistake {
	if c.DefaultSrc == nil {
		c.DefaultSrc = []string{headers.None}
	}
	return inConfig(headers.Config{CSP: &c}, parts...)
}

func inHosts(host string, parts ...string) mistake {
	return mistake{func() error {
		_, err := headers.NewTrustedHosts([]string{"good.example", host}, headers.HostsConfig{})
		return err
	}, append([]string{"hosts[1] is"}, parts...)}
}

func inOrigins(origin string, parts ...string) mistake {
	return mistake{func() error {
		_, err := headers.NewCORS([]string{"https://good.example", origin}, headers.CORSConfig{Credentials: true})
		return err
	}, append([]string{"origins[1] is"}, parts...)}
}

func inCORS(c headers.CORSConfig, parts ...string) mistake {
	return mistake{func() error { _, err := headers.NewCORS([]string{"https://good.example"}, c); return err }, parts}
}

func inProxies(trusted string, c headers.ProxiesConfig, parts ...string) mistake {
	return mistake{func() error { _, err := headers.NewTrustedProxies([]string{trusted}, c); return err }, parts}
}

func inHTTPS(c headers.HTTPSConfig, parts ...string) mistake {
	return mistake{func() error { _, err := headers.NewRedirectHTTPS(c); return err }, parts}
}

func inIsolate(c headers.IsolateConfig, parts ...string) mistake {
	return mistake{func() error { _, err := headers.NewIsolate(c); return err }, parts}
}

var mistakes = []mistake{
	// CSP: keywords and spelling.
	inScripts("self", `"self"`, "'self' in single quotation marks"),
	inScripts("none", `"none"`, "'none' in single"),
	inScripts("unsafe-inline", "'unsafe-inline' in single"),
	inScripts("UNSAFE-EVAL", "'unsafe-eval' in single"),
	inScripts("strict-dynamic", "'strict-dynamic' in single"),
	inScripts("nonce-abc", "'nonce-abc' in single"),
	inScripts("sha256-abc", "'sha256-abc' in single"),
	inScripts(`"self"`, "single quotation marks"),
	inScripts("`self`", "single quotation marks"),
	inScripts("‘self’", "visible ASCII"),
	inScripts("'SELF'", "in lower case"),
	inScripts("'selfish'", "one of the keywords"),
	inScripts("'self", "one of the keywords"),
	inScripts("", "a source"),
	// CSP: more than one source in an element.
	inScripts("'self' https://cdn.example", "each source is an element of its own"),
	inScripts("'self';", "without semicolon"),
	inScripts("'self'; script-src *", "without semicolon"),
	inScripts("https://a.example,https://b.example", "comma"),
	inScripts("https://a.example\r\nSet-Cookie: x", "visible ASCII"),
	inScripts("https://a.example\n", "visible ASCII"),
	inScripts("https://bücher.example", "visible ASCII"),
	inScripts("object-src", "this is a directive"),
	inScripts("upgrade-insecure-requests", "this is a directive"),
	// CSP: weak sources.
	inScripts("'unsafe-inline'", "InsecureUnsafeInline"),
	inScripts("'unsafe-hashes'", "InsecureUnsafeInline"),
	inScripts("'unsafe-eval'", "InsecureUnsafeEval"),
	inScripts("*", "InsecureAnySource"),
	inScripts("https:", "InsecureAnySource"),
	inScripts("http:", "InsecureAnySource"),
	inScripts("data:", "InsecureAnySource"),
	inScripts("blob:", "InsecureAnySource"),
	inScripts("https://*", "InsecureAnySource"),
	inScripts("https://*:*", "InsecureAnySource"),
	inScripts("http://*:*", "InsecureAnySource"),
	inScripts("https://*:443", "InsecureAnySource"),
	inScripts("*:*", "InsecureAnySource"),
	inScripts("*:8443", "InsecureAnySource"),
	inScripts("*/x/", "InsecureAnySource"),
	inScripts("https://*/", "InsecureAnySource"),
	inScripts("http://*/x/", "InsecureAnySource"),
	inScripts("https://*:*/", "InsecureAnySource"),
	inScripts("wss://*", "InsecureAnySource"),
	inScripts("ftp://*", "InsecureAnySource"),
	inScripts("ftp:", "InsecureAnySource"),
	inScripts("*.com", "InsecureAnySource"),
	inScripts("*.COM", "InsecureAnySource"),
	inScripts("*.com:*", "InsecureAnySource"),
	inScripts("https://*.com", "InsecureAnySource"),
	inScripts("https://*.com:8443/x/", "InsecureAnySource"),
	inScripts("*.co.uk", "InsecureSharedDomains"),
	inScripts("*.github.io", "InsecureSharedDomains"),
	inScripts("*.GitHub.io", "InsecureSharedDomains"),
	inScripts("https://*.github.io:*/x/", "InsecureSharedDomains"),
	inScripts("https://example.com:443:*", "a host (https"),
	inScripts("https://example.com:", "a host (https"),
	inScripts("*.192.0.2.1", "a host (https"),
	inScripts("*.*.example.com", "a host (https"),
	inScripts("https:/example.com", "a host (https"),
	inScripts("'nonce-c3RhdGlj'", "a constant nonce"),
	inScripts("'sha256-abc'", "the digest in base64"),
	inScripts("'sha512-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='", "the digest in base64"),
	inScripts("'strict-dynamic'", "NonceSource or a hash with"),
	inScripts("https://example.com?x", "a host (https://cdn.example.com"),
	inScripts("https://", "a host (https"),
	inScripts("//example.com", "a host (https"),
	inScripts("a.*.example.com", "a host (https"),
	inScripts("ex ample.com", "each source"),
	inCSP(headers.CSP{ScriptSrc: []string{headers.None, headers.Self}}, "Config.CSP.ScriptSrc", "'none' alone"),
	inCSP(headers.CSP{ScriptSrc: []string{headers.Self, headers.Self}}, "Config.CSP.ScriptSrc[1]", "each source once"),
	inCSP(headers.CSP{StyleSrc: []string{headers.UnsafeInline}}, "Config.CSP.StyleSrc[0]", "InsecureUnsafeInline"),
	inCSP(headers.CSP{ObjectSrc: []string{"*"}}, "Config.CSP.ObjectSrc[0]", "InsecureAnySource"),
	// 'strict-dynamic' is of scripts: hosts of objects count beside it.
	inCSP(headers.CSP{ObjectSrc: []string{headers.NonceSource, headers.StrictDynamic, "https:"}, BaseURI: []string{headers.None}}, "Config.CSP.ObjectSrc[2]", "InsecureAnySource"),
	inCSP(headers.CSP{DefaultSrc: []string{headers.NonceSource, headers.StrictDynamic, "https:"}, BaseURI: []string{headers.None}}, "Config.CSP.DefaultSrc[2]", "InsecureAnySource"),
	inCSP(headers.CSP{BaseURI: []string{"*"}}, "Config.CSP.BaseURI[0]", "InsecureAnySource"),
	inCSP(headers.CSP{BaseURI: []string{"https://*:*"}}, "Config.CSP.BaseURI[0]", "InsecureAnySource"),
	inCSP(headers.CSP{FormAction: []string{"https://*.vercel.app"}}, "Config.CSP.FormAction[0]", "InsecureSharedDomains"),
	inConfig(headers.Config{Frame: "SAMEORIGIN", CSP: &headers.CSP{DefaultSrc: []string{headers.None}, FrameAncestors: []string{"https://*:*"}}}, "Config.CSP.FrameAncestors[0]", "InsecureAnySource"),
	inCSP(headers.CSP{FormAction: []string{"https:"}}, "Config.CSP.FormAction[0]", "InsecureAnySource"),
	inCSP(headers.CSP{FrameAncestors: []string{headers.UnsafeInline}, InsecureUnsafeInline: true}, "Config.CSP.FrameAncestors[0]", "hosts in frame-ancestors"),
	inCSP(headers.CSP{FrameAncestors: []string{headers.Self}}, "Config.Frame", "SAMEORIGIN"),
	inCSP(headers.CSP{ScriptSrc: []string{headers.NonceSource}}, "Config.CSP.BaseURI", "'none' or 'self'"),
	inCSP(headers.CSP{Sandbox: []string{"allow-everything"}}, "Config.CSP.Sandbox[0]", "allow-forms"),
	inCSP(headers.CSP{TrustedTypes: []string{"a b"}}, "Config.CSP.TrustedTypes[0]", "the name of a policy"),
	inCSP(headers.CSP{TrustedTypes: []string{"a;b"}}, "Config.CSP.TrustedTypes[0]", "the name of a policy"),
	inCSP(headers.CSP{TrustedTypes: []string{headers.NonceSource}}, "Config.CSP.TrustedTypes[0]", "the name of a policy"),
	inCSP(headers.CSP{ReportURI: []string{"/r?'nonce'"}}, "Config.CSP.ReportURI[0]", "quotation mark"),
	inCSP(headers.CSP{ReportTo: "csp"}, "Config.CSP.ReportTo", `"csp"`, "Config.ReportingEndpoints"),
	inCSP(headers.CSP{ReportURI: []string{"http://r.example/"}}, "Config.CSP.ReportURI[0]", "an https URL or a path"),
	inCSP(headers.CSP{ReportURI: []string{"//r.example/"}}, "Config.CSP.ReportURI[0]", "an https URL or a path"),
	inCSP(headers.CSP{ReportURI: []string{"/r;x"}}, "Config.CSP.ReportURI[0]", "without semicolon"),
	inConfig(headers.Config{CSP: &headers.CSP{BaseURI: []string{headers.None}}}, "Config.CSP.DefaultSrc", "every script is allowed"),
	// CSP: what nothing falls back to.
	inConfig(headers.Config{CSP: &headers.CSP{ScriptSrc: []string{headers.Self}}}, "Config.CSP.ObjectSrc", "'none', or DefaultSrc", "Config.CSP.BaseURI"),
	inConfig(headers.Config{CSP: &headers.CSP{ScriptSrc: []string{headers.Self}, ObjectSrc: []string{headers.None}}}, "Config.CSP.BaseURI", "'none' or 'self'"),
	inConfig(headers.Config{CSP: &headers.CSP{ScriptSrc: []string{headers.Self}, BaseURI: []string{headers.None}}}, "Config.CSP.ObjectSrc", "'none', or DefaultSrc"),
	inConfig(headers.Config{CSPReportOnly: &headers.CSP{DefaultSrc: []string{headers.None}}}, "Config.CSPReportOnly.ReportTo", "otherwise the reports are lost"),
	inConfig(headers.Config{CSPReportOnly: &headers.CSP{DefaultSrc: []string{"self"}, ReportURI: []string{"/r"}}}, "Config.CSPReportOnly.DefaultSrc[0]", "single quotation marks"),
	inConfig(headers.Config{CSPReportOnly: &headers.CSP{DefaultSrc: []string{headers.Self}, ReportURI: []string{"/r"}, UpgradeInsecureRequests: true}}, "Config.CSPReportOnly.UpgradeInsecureRequests is true"),
	inConfig(headers.Config{CSPReportOnly: &headers.CSP{DefaultSrc: []string{headers.Self}, ReportURI: []string{"/r"}, Sandbox: []string{}}}, "Config.CSPReportOnly.Sandbox"),
	inConfig(headers.Config{ReportingEndpoints: []headers.ReportingEndpoint{{Name: "a b", URL: "/r"}}}, "Config.ReportingEndpoints[0].Name", `"a b"`, "a lower-case word"),
	inConfig(headers.Config{ReportingEndpoints: []headers.ReportingEndpoint{{Name: "csp", URL: "http://r"}}}, "Config.ReportingEndpoints[0].URL", "an https URL"),
	inConfig(headers.Config{ReportingEndpoints: []headers.ReportingEndpoint{{Name: "csp", URL: "/r\"\r\n"}}}, "Config.ReportingEndpoints[0].URL", "an https URL"),
	// HSTS.
	inConfig(headers.Config{HSTS: headers.HSTS{MaxAge: time.Hour}}, "Config.HSTS.MaxAge is 1h0m0s", "31536000 s"),
	inConfig(headers.Config{HSTS: headers.HSTS{MaxAge: -1}}, "Config.HSTS.MaxAge is -1ns", "InsecureForget"),
	inConfig(headers.Config{HSTS: headers.HSTS{MaxAge: 400*24*time.Hour + time.Millisecond}}, "Config.HSTS.MaxAge", "whole seconds"),
	inConfig(headers.Config{HSTS: headers.HSTS{MaxAge: 200 * 365 * 24 * time.Hour}}, "Config.HSTS.MaxAge", "hundred years"),
	inConfig(headers.Config{HSTS: headers.HSTS{MaxAge: 364 * 24 * time.Hour, InsecureShort: true, Preload: true}}, "Config.HSTS.Preload is true", "31536000 s"),
	inConfig(headers.Config{HSTS: headers.HSTS{Preload: true, InsecureHostOnly: true}}, "Config.HSTS.Preload is true", "InsecureHostOnly"),
	inConfig(headers.Config{HSTS: headers.HSTS{Preload: true, InsecureForget: true}}, "Config.HSTS.Preload is true", "InsecureForget"),
	inConfig(headers.Config{HSTS: headers.HSTS{MaxAge: time.Hour, InsecureForget: true}}, "Config.HSTS.MaxAge is 1h0m0s", "0 together"),
	// Other headers.
	inConfig(headers.Config{Frame: "ALLOWALL"}, "Config.Frame", `"ALLOWALL"`, "DENY, SAMEORIGIN"),
	inConfig(headers.Config{Frame: "deny"}, "Config.Frame", `"deny"`, "DENY"),
	inConfig(headers.Config{Referrer: "unsafe-url"}, "Config.Referrer", `"unsafe-url"`, "no-referrer"),
	inConfig(headers.Config{Referrer: "no-referrer-when-downgrade"}, "Config.Referrer", "strict-origin"),
	inConfig(headers.Config{Opener: "unsafe-none"}, "Config.Opener", `"unsafe-none"`, "same-origin-allow-popups"),
	inConfig(headers.Config{Resource: "same_site"}, "Config.Resource", "same-site"),
	inConfig(headers.Config{Embedder: "yes"}, "Config.Embedder", `"yes"`, "require-corp"),
	inConfig(headers.Config{Permissions: []headers.Permission{{Feature: "Camera"}}}, "Config.Permissions[0].Feature", `"Camera"`, "lower case"),
	inConfig(headers.Config{Permissions: []headers.Permission{{Feature: "camera=(), x"}}}, "Config.Permissions[0].Feature", "a feature"),
	inConfig(headers.Config{Permissions: []headers.Permission{{Feature: ""}}}, "Config.Permissions[0].Feature", "a feature"),
	inConfig(headers.Config{Permissions: []headers.Permission{{Feature: "usb"}, {Feature: "usb"}}}, "Config.Permissions[1].Feature", "each feature once"),
	inConfig(headers.Config{Permissions: []headers.Permission{{Feature: "usb", Allow: []string{"'self'"}}}}, "Config.Permissions[0].Allow[0]", `"self"`),
	inConfig(headers.Config{Permissions: []headers.Permission{{Feature: "usb", Allow: []string{"http://a.example"}}}}, "Config.Permissions[0].Allow[0]", "https://example.com"),
	inConfig(headers.Config{Credentials: []string{"X Key"}}, "Config.Credentials[0]", `"X Key"`, "the name of a header"),
	inConfig(headers.Config{Remove: []string{"Server"}}, "Config.Remove", "Config.Enforce"),
	inConfig(headers.Config{Enforce: true, Remove: []string{"X-Frame-Options"}}, "Config.Remove[0]", "InsecureOmit"),
	inConfig(headers.Config{Enforce: true, Remove: []string{"Content-Type"}}, "Config.Remove[0]", "clients do not need"),
	inConfig(headers.Config{Enforce: true, Remove: []string{"a:b"}}, "Config.Remove[0]", "the name of a header"),
	inConfig(headers.Config{InsecureOmit: []string{"X-Powered-By"}}, "Config.InsecureOmit[0]", "a header that this package sets"),
	inConfig(headers.Config{InsecureOmit: []string{""}}, "Config.InsecureOmit[0]", "the name of a header"),
	// Proxies.
	inProxies("10.0.0.1/8", headers.ProxiesConfig{}, "trusted[0]", `"10.0.0.1/8"`, "10.0.0.0/8"),
	inProxies("10.0.0", headers.ProxiesConfig{}, "trusted[0]", "an address, a prefix"),
	inProxies("", headers.ProxiesConfig{}, "trusted[0]", "an address, a prefix"),
	inProxies("10.0.0.0/33", headers.ProxiesConfig{}, "trusted[0]", "an address, a prefix"),
	inProxies("fe80::1%eth0", headers.ProxiesConfig{}, "trusted[0]", "an address, a prefix"),
	inProxies("::ffff:10.0.0.0/104", headers.ProxiesConfig{}, "trusted[0]", "IPv4 notation"),
	inProxies("0.0.0.0/0", headers.ProxiesConfig{}, "trusted[0]", "InsecureAnyPeer"),
	inProxies("128.0.0.0/1", headers.ProxiesConfig{}, "trusted[0]", "InsecureAnyPeer"),
	inProxies("::/0", headers.ProxiesConfig{}, "trusted[0]", "InsecureAnyPeer"),
	inProxies("2000::/3", headers.ProxiesConfig{}, "trusted[0]", "InsecureAnyPeer"),
	inProxies("loadbalancer.local", headers.ProxiesConfig{}, "trusted[0]", "an address, a prefix"),
	{func() error {
		_, err := headers.NewTrustedProxies([]string{"10.0.0.1", "10.0.0.1/32"}, headers.ProxiesConfig{})
		return err
	}, []string{"trusted[1]", "each prefix once"}},
	inProxies("10.0.0.1", headers.ProxiesConfig{Hops: -1}, "ProxiesConfig.Hops is -1", "1 to 16"),
	inProxies("10.0.0.1", headers.ProxiesConfig{Hops: 17}, "ProxiesConfig.Hops is 17", "1 to 16"),
	inProxies("10.0.0.1", headers.ProxiesConfig{Header: "X Forwarded"}, "ProxiesConfig.Header", "the name of a header"),
	inProxies("10.0.0.1", headers.ProxiesConfig{Header: "authorization"}, "ProxiesConfig.Header", "clients do not"),
	inProxies("10.0.0.1", headers.ProxiesConfig{Header: "X-Forwarded-Proto"}, "ProxiesConfig.Header", "X-Forwarded-For"),
	inProxies("10.0.0.1", headers.ProxiesConfig{Header: "X-Forwarded-Host"}, "ProxiesConfig.Header", "X-Forwarded-For"),
	inProxies("10.0.0.1", headers.ProxiesConfig{Header: "Cf-Connecting-Ip", Hops: 2}, "ProxiesConfig.Hops is 2", "1 with a vendor's"),
	inProxies("10.0.0.1", headers.ProxiesConfig{Header: "Cf-Connecting-Ip", Host: true}, "ProxiesConfig.Host is true", "false with a vendor's"),
	inProxies("10.0.0.1", headers.ProxiesConfig{Header: "Cf-Connecting-Ip", SchemeHeader: "a b"}, "ProxiesConfig.SchemeHeader", "the name of a header"),
	inProxies("10.0.0.1", headers.ProxiesConfig{SchemeHeader: "X-Scheme"}, "ProxiesConfig.SchemeHeader", "no SchemeHeader with X-Forwarded-For"),
	inProxies("10.0.0.1", headers.ProxiesConfig{Header: headers.Forwarded, SchemeHeader: "X-Scheme"}, "ProxiesConfig.SchemeHeader", "no SchemeHeader with Forwarded"),
	// Hosts.
	{func() error { _, err := headers.NewTrustedHosts(nil, headers.HostsConfig{}); return err }, []string{"hosts is", "all requests are refused"}},
	inHosts("*", "InsecureAnyHost"),
	inHosts("", "a name, an address"),
	inHosts("bücher.example", `"bücher.example"`, "A-label"),
	inHosts("*.bücher.example", "A-label"),
	inHosts("https://a.com", "without a scheme"),
	inHosts("a.com/x", "without a path"),
	inHosts("a.com.", "without the dot"),
	inHosts("*a.com", "whole labels"),
	inHosts("a.*.com", "whole labels"),
	inHosts("*.*.a.com", "whole labels"),
	inHosts("*.com", "an attacker can register"),
	inHosts("*.co.uk", "InsecureSharedDomains"),
	inHosts("*.github.io", "InsecureSharedDomains"),
	inHosts("*.192.0.2.1", "without a wildcard"),
	inHosts("*.", "a name"),
	inHosts("::1", "IPv6 in brackets"),
	inHosts("a.com:", "a name"),
	inHosts("a.com:99999", "a name"),
	inHosts("a b.com", "a name"),
	inHosts("user@a.com", "a name"),
	inHosts("GOOD.example", "each host once"),
	inHosts(strings.Repeat("a", 300), "a name"),
	// HTTPS.
	inHTTPS(headers.HTTPSConfig{Host: "https://a.com"}, "HTTPSConfig.Host", `"https://a.com"`, "without a scheme"),
	inHTTPS(headers.HTTPSConfig{Host: "bücher.example"}, "HTTPSConfig.Host", "an ASCII host"),
	inHTTPS(headers.HTTPSConfig{Host: "a.com."}, "HTTPSConfig.Host", "an ASCII host"),
	inHTTPS(headers.HTTPSConfig{Host: "a.com", Port: 1}, "HTTPSConfig.Port is 1", "0 with Host"),
	inHTTPS(headers.HTTPSConfig{Port: -1}, "HTTPSConfig.Port is -1", "1 to 65535"),
	inHTTPS(headers.HTTPSConfig{Port: 65536}, "HTTPSConfig.Port is 65536", "1 to 65535"),
	inHTTPS(headers.HTTPSConfig{Credentials: []string{"a b"}}, "HTTPSConfig.Credentials[0]", "the name of a header"),
	inHTTPS(headers.HTTPSConfig{InsecureExempt: []string{"/"}}, "HTTPSConfig.InsecureExempt[0]", "exempts all"),
	inHTTPS(headers.HTTPSConfig{InsecureExempt: []string{"healthz"}}, "HTTPSConfig.InsecureExempt[0]", `"/healthz"`),
	inHTTPS(headers.HTTPSConfig{InsecureExempt: []string{""}}, "HTTPSConfig.InsecureExempt[0]", "a path"),
	inHTTPS(headers.HTTPSConfig{InsecureExempt: []string{"/a/../b"}}, "HTTPSConfig.InsecureExempt[0]", "/b"),
	inHTTPS(headers.HTTPSConfig{InsecureExempt: []string{"/static/*"}}, "HTTPSConfig.InsecureExempt[0]", "everything under it"),
	inHTTPS(headers.HTTPSConfig{InsecureExempt: []string{"GET /x"}}, "HTTPSConfig.InsecureExempt[0]", "a path"),
	inHTTPS(headers.HTTPSConfig{InsecureExempt: []string{"/a%2fb"}}, "HTTPSConfig.InsecureExempt[0]", "a path"),
	// CORS.
	{func() error { _, err := headers.NewCORS(nil, headers.CORSConfig{}); return err }, []string{"origins is", "or no CORS"}},
	inOrigins("*", `"*"`, "every page could act for the user"),
	inOrigins("null", "InsecureNull"),
	inOrigins("https://good.example", "each origin once"),
	inOrigins("example.com", "with its scheme"),
	inOrigins("//example.com", "with its scheme"),
	inOrigins("", "with its scheme"),
	inOrigins("://example.com", "with its scheme"),
	inOrigins("h*", "with its scheme"),
	inOrigins("http*://example.com", "a scheme, for example https"),
	inOrigins("*://example.com", "whole labels"),
	inOrigins("https://*", "whole labels"),
	inOrigins("https://*example.com", "whole labels"),
	inOrigins("https://example.*", "whole labels"),
	inOrigins("https://a.*.example.com", "whole labels"),
	inOrigins("https://*.*.example.com", "whole labels"),
	inOrigins("https://*.com", "an attacker can register"),
	inOrigins("https://*.github.io", "InsecureSharedDomains"),
	inOrigins("https://*.co.uk", "InsecureSharedDomains"),
	inOrigins("https://*.192.0.2.1", "no wildcard with an address"),
	inOrigins("chrome-extension://*.abc", "CORSConfig.InsecureAnyExtension"),
	inOrigins("https://example.com:*", "localhost"),
	inOrigins("https://*.localhost:*", "localhost"),
	inOrigins("https://example.com/", "no slash", `"https://example.com"`),
	inOrigins("https://example.com/x", "scheme, host and port only"),
	inOrigins("https://example.com?x", "scheme, host and port only"),
	inOrigins("https://example.com:443", "no port"),
	inOrigins("http://localhost:80", "no port"),
	inOrigins("https://example.com:", "as browsers send it"),
	inOrigins("https://example.com:0", "as browsers send it"),
	inOrigins("https://Example.com", "lower case"),
	inOrigins("https://bücher.example", "A-label"),
	inOrigins("https://user@example.com", "without a user"),
	inOrigins("https://example.com.", "without the dot"),
	inOrigins("http://example.com", "InsecureHTTP"),
	inOrigins("http://*.example.com", "InsecureHTTP"),
	inOrigins("file://", "files have the origin null"),
	inOrigins("https://[::1", "as browsers send it"),
	inOrigins("https://[2001:db8:0::1]", "as browsers send it"),
	inOrigins("https://exa mple.com", "as browsers send it"),
	inOrigins("https://127.1", "as browsers send it"),
	{func() error {
		_, err := headers.NewCORS([]string{"https://a.com", "*"}, headers.CORSConfig{})
		return err
	}, []string{"origins[1]", "it alone"}},
	inCORS(headers.CORSConfig{Methods: []string{"DEL ETE"}}, "CORSConfig.Methods[0]", `"DEL ETE"`, "a method"),
	inCORS(headers.CORSConfig{Methods: []string{""}}, "CORSConfig.Methods[0]", "a method"),
	inCORS(headers.CORSConfig{Methods: []string{"*"}}, "CORSConfig.Methods[0]", "by name"),
	inCORS(headers.CORSConfig{Methods: []string{"get"}}, "CORSConfig.Methods[0]", `"GET"`),
	inCORS(headers.CORSConfig{Methods: []string{"Trace"}}, "CORSConfig.Methods[0]", "another method"),
	inCORS(headers.CORSConfig{Methods: []string{"CONNECT"}}, "CORSConfig.Methods[0]", "another method"),
	inCORS(headers.CORSConfig{Methods: []string{"GET", "GET"}}, "CORSConfig.Methods[1]", "each method once"),
	inCORS(headers.CORSConfig{Headers: []string{"*"}}, "CORSConfig.Headers[0]", "InsecureAnyHeader"),
	inCORS(headers.CORSConfig{Headers: []string{"X-A", "*"}, InsecureAnyHeader: true}, "CORSConfig.Headers[1]", "it alone"),
	inCORS(headers.CORSConfig{Headers: []string{"X A"}}, "CORSConfig.Headers[0]", "the name of a header"),
	inCORS(headers.CORSConfig{Headers: []string{"Cookie"}}, "CORSConfig.Headers[0]", "browsers refuse to set"),
	inCORS(headers.CORSConfig{Headers: []string{"Sec-Fetch-Site"}}, "CORSConfig.Headers[0]", "browsers refuse to set"),
	inCORS(headers.CORSConfig{Headers: []string{"Access-Control-Allow-Origin"}}, "CORSConfig.Headers[0]", "belongs to responses"),
	inCORS(headers.CORSConfig{Headers: []string{"X-A", "x-a"}}, "CORSConfig.Headers[1]", "each header once"),
	inCORS(headers.CORSConfig{Expose: []string{"X\r\nA"}}, "CORSConfig.Expose[0]", "the name of a header"),
	inCORS(headers.CORSConfig{Expose: []string{"Set-Cookie"}}, "CORSConfig.Expose[0]", "browsers hide cookies"),
	inCORS(headers.CORSConfig{Expose: []string{"*"}, Credentials: true}, "CORSConfig.Expose[0]", "names; with Credentials"),
	inCORS(headers.CORSConfig{MaxAge: 25 * time.Hour}, "CORSConfig.MaxAge is 25h0m0s", "24h"),
	inCORS(headers.CORSConfig{MaxAge: time.Millisecond}, "CORSConfig.MaxAge is 1ms", "whole seconds"),
	// Isolation.
	inIsolate(headers.IsolateConfig{TrustedOrigins: []string{"*"}}, "IsolateConfig.TrustedOrigins[0]", "an origin by name"),
	inIsolate(headers.IsolateConfig{TrustedOrigins: []string{"null"}}, "IsolateConfig.TrustedOrigins[0]", "an origin by name"),
	inIsolate(headers.IsolateConfig{TrustedOrigins: []string{"https://a.com/"}}, "IsolateConfig.TrustedOrigins[0]", "an origin by name"),
	inIsolate(headers.IsolateConfig{TrustedOrigins: []string{"https://*.a.com"}}, "IsolateConfig.TrustedOrigins[0]", "an origin by name"),
	inIsolate(headers.IsolateConfig{TrustedOrigins: []string{"https://a.com."}}, "IsolateConfig.TrustedOrigins[0]", "an origin by name"),
	inIsolate(headers.IsolateConfig{TrustedOrigins: []string{"https://a.com", "https://a.com"}}, "IsolateConfig.TrustedOrigins[1]", "each origin once"),
	inIsolate(headers.IsolateConfig{InsecureExempt: []string{"public"}}, "IsolateConfig.InsecureExempt[0]", "a path"),
}

func TestMistakesAreErrorsOfTheConstructor(t *testing.T) {
	if len(mistakes) < 100 {
		t.Errorf("%d mistakes, want 100", len(mistakes))
	}
	for i, tt := range mistakes {
		t.Run(fmt.Sprintf("%d %.60s", i, strings.Join(tt.parts, " ")), func(t *testing.T) {
			err := tt.build()
			if err == nil {
				t.Fatalf("no error, want one with %q", tt.parts)
			}
			if !strings.HasPrefix(err.Error(), "headers: ") || !strings.Contains(err.Error(), "; use ") {
				t.Errorf("got %q, want the package and what to do", err)
			}
			for _, part := range tt.parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want %q in it", err, part)
				}
			}
			if strings.Count(err.Error(), "\n") > 1 || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\r") {
				t.Errorf("got %q, want a line", err)
			}
		})
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := headers.New(headers.Config{
		CSP:   &headers.CSP{DefaultSrc: []string{"self", "none"}},
		Frame: "x", Referrer: "x", HSTS: headers.HSTS{MaxAge: 1, Preload: true}, Remove: []string{"Server"},
	})
	for _, part := range []string{"DefaultSrc[0]", "DefaultSrc[1]", "Config.Frame", "Config.Referrer", "HSTS.MaxAge", "HSTS.Preload", "Config.Remove"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %s in it", err, part)
		}
	}
	_, err = headers.NewCORS([]string{"a", "b"}, headers.CORSConfig{Methods: []string{"*"}, MaxAge: 48 * time.Hour})
	if n := strings.Count(err.Error(), "\n") + 1; n != 4 {
		t.Errorf("got %d mistakes in %q, want 4", n, err)
	}
}

// What looks like a wide source and is none, and directives in which a wide
// one is no danger.
func TestSourcesThatAreTaken(t *testing.T) {
	none := []string{headers.None}
	for _, source := range []string{
		"https://cdn.example.com", "cdn.example.com", "https://cdn.example.com:*", "cdn.example.com:8443/lib/", "*.example.com", "https://*.example.com:*/lib/",
		"*.localhost", "https://*.localhost:*", "http://localhost:*", "github.io", "com", "mine.github.io", "https://mine.github.io/lib/", "*.mine.github.io", "*.example.co.uk",
		"http://127.0.0.1:3000", "app://cdn",
	} {
		if _, err := headers.New(headers.Config{CSP: &headers.CSP{DefaultSrc: none, ScriptSrc: []string{source}}}); err != nil {
			t.Errorf("%q: %v", source, err)
		}
	}
	for _, source := range []string{"*", "*:*", "*:8443", "*/x/", "https:", "https://*", "https://*:443/", "*.com", "*.github.io", "data:"} {
		if _, err := headers.New(headers.Config{CSP: &headers.CSP{DefaultSrc: none, ImgSrc: []string{source}}}); err != nil {
			t.Errorf("%q in img-src: %v", source, err)
		}
	}
	// Beside 'strict-dynamic' hosts are for browsers that do not know it.
	for _, c := range []headers.CSP{
		{ScriptSrc: []string{headers.NonceSource, headers.StrictDynamic, "https:", "https://*:*"}, ObjectSrc: none, BaseURI: none},
		{DefaultSrc: []string{headers.NonceSource, headers.StrictDynamic, "https:"}, ObjectSrc: none, BaseURI: none},
	} {
		if _, err := headers.New(headers.Config{CSP: &c}); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// Each field that weakens something makes the constructor take what it
// refuses otherwise.
func TestInsecureFields(t *testing.T) {
	script := func(c headers.CSP, source string) headers.Config {
		c.DefaultSrc, c.ScriptSrc = []string{headers.None}, []string{source}
		return headers.Config{CSP: &c}
	}
	for name, err := range map[string]error{
		"inline":                                 second(headers.New(script(headers.CSP{InsecureUnsafeInline: true}, "'unsafe-inline'"))),
		"eval":                                   second(headers.New(script(headers.CSP{InsecureUnsafeEval: true}, "'unsafe-eval'"))),
		"any":                                    second(headers.New(script(headers.CSP{InsecureAnySource: true}, "https:"))),
		"any host on any port":                   second(headers.New(script(headers.CSP{InsecureAnySource: true}, "https://*:*"))),
		"any host under com":                     second(headers.New(script(headers.CSP{InsecureAnySource: true}, "*.com"))),
		"any includes shared":                    second(headers.New(script(headers.CSP{InsecureAnySource: true}, "*.github.io"))),
		"shared":                                 second(headers.New(script(headers.CSP{InsecureSharedDomains: true}, "*.github.io"))),
		"frame":                                  second(headers.New(headers.Config{InsecureOmit: []string{"x-frame-options"}, CSP: &headers.CSP{DefaultSrc: []string{headers.None}, FrameAncestors: []string{"https://a.com"}}})),
		"hosts":                                  second(headers.NewTrustedHosts([]string{"*.github.io"}, headers.HostsConfig{InsecureSharedDomains: true})),
		"peers":                                  second(headers.NewTrustedProxies([]string{"0.0.0.0/0", "::/0"}, headers.ProxiesConfig{InsecureAnyPeer: true})),
		"unique local addresses are no weakness": second(headers.NewTrustedProxies([]string{"fc00::/7", "10.0.0.0/8", "unix"}, headers.ProxiesConfig{})),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := headers.New(script(headers.CSP{InsecureSharedDomains: true}, "*.com")); err == nil {
		t.Error("InsecureSharedDomains lets *.com in")
	}
}

func second[T any](_ T, err error) error { return err }
