"""The OpenAPI document, which is the table of routes in another form: nothing in it is written by hand twice."""
