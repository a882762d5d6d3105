package passkey

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

// recordPrefix begins each record, which has the format of c2sp.org/passkey-record:
// a PHC string with the authenticator data of the registration, readable by other
// programs.
const recordPrefix = "$webauthn$v=1$"

var errRecord = errors.New("passkey: malformed record")

// encodeRecord returns the record of a credential.
func encodeRecord(authData []byte, transports []string) string {
	record := recordPrefix
	if len(transports) > 0 {
		record += "transports=" + strings.Join(transports, "+") + "$"
	}
	return record + base64.RawStdEncoding.EncodeToString(authData)
}

// parseRecord returns the content of a record. It skips unknown parameters.
func parseRecord(record string) (d authData, transports []string, err error) {
	rest, ok := strings.CutPrefix(record, recordPrefix)
	if !ok {
		return authData{}, nil, errRecord
	}
	parameters, payload, ok := strings.Cut(rest, "$")
	if !ok {
		parameters, payload = "", rest
	}
	for p := range strings.SplitSeq(parameters, ",") {
		if list, ok := strings.CutPrefix(p, "transports="); ok {
			if transports != nil {
				return authData{}, nil, errRecord
			}
			transports = strings.Split(list, "+")
		}
	}
	if slices.ContainsFunc(transports, func(t string) bool { return !isTransport(t) }) || hasLineBreak(payload) {
		return authData{}, nil, errRecord
	}
	raw, err := base64.RawStdEncoding.Strict().DecodeString(payload)
	if err != nil {
		return authData{}, nil, errRecord
	}
	if d, err = parseAuthData(raw); err != nil || !d.has(flagCredential) {
		return authData{}, nil, errRecord
	}
	return d, transports, nil
}

// isTransport reports whether t may occur in a record: a short word, registered
// (WebAuthn section 5.8.4) or not.
func isTransport(t string) bool {
	for i := range len(t) {
		c := t[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return 0 < len(t) && len(t) <= 32
}
