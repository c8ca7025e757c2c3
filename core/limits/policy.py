"""The classes of routes that limits are set for. Pure."""

from enum import StrEnum


class RateClass(StrEnum):
    """What a request costs the backends, as the published plans name it."""

    METADATA = "metadata"
    """configuration: namespaces, buckets, collections, retrievers, keys"""
    DATA = "data"
    """objects, documents, tasks, deliveries"""
    SEARCH = "search"
    """executions of retrievers"""
    UPLOAD = "upload"
    """bodies that carry a customer's bytes"""
    COMPUTE = "compute"
    """batches, and whatever else starts long work"""
