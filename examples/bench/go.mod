module github.com/gatewright/gatewright/examples/bench

go 1.26.0

require (
	github.com/gatewright/gatewright v0.0.0
	github.com/golang-jwt/jwt/v5 v5.3.1
	golang.org/x/crypto v0.58.0
)

require golang.org/x/sys v0.49.0 // indirect

replace github.com/gatewright/gatewright => ../..
