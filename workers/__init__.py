"""QUEUE: claims a job, drives it to its end, settles it and announces it. Never answers a request."""
