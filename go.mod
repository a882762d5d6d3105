module github.com/gatewright/gatewright

go 1.26.0

require (
	github.com/boombuler/barcode v1.1.0
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/pquerna/otp v1.5.0
	github.com/rs/cors v1.11.1
	golang.org/x/time v0.16.0
)

require (
	golang.org/x/crypto v0.58.0
	golang.org/x/sys v0.49.0 // indirect
)
