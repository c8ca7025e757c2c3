"""THE BUSINESS: what intake, workers, stages and operators share. Nothing in it knows how it was called."""
