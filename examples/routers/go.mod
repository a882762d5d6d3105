module github.com/gatewright/gatewright/examples/routers

go 1.26.0

replace github.com/gatewright/gatewright => ../../

require (
	github.com/alexedwards/scs/v2 v2.9.0
	github.com/gatewright/gatewright v0.0.0
	github.com/go-chi/chi/v5 v5.2.3
	github.com/gorilla/sessions v1.4.0
)

require github.com/gorilla/securecookie v1.1.2 // indirect
