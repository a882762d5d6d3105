module github.com/gatewright/gatewright/examples/bench

go 1.26.0

require (
	github.com/gatewright/gatewright v0.0.0
	github.com/golang-jwt/jwt/v5 v5.3.1
)

replace github.com/gatewright/gatewright => ../..
