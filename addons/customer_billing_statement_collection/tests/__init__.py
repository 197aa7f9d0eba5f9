from . import test_statement_collection
