"""STAGES: what is done to data, on Ray. It knows nothing of requests and queues."""
