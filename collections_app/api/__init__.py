"""The API. Only this folder and `sources/upstream/runs.py` contain JSON names of the API contract."""
