"""Intake: turns an HTTP request into a record and a doorbell. It never runs a stage and never imports Ray."""
