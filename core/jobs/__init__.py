"""The job engine: one unit of asynchronous work, from its record to its end. MongoDB is the truth."""
