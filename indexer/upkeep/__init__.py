"""Looking after a library: finding and mending faults, getting at originals, moving whole libraries."""
