"""Read and write records in file formats, within a bounded amount of memory."""
