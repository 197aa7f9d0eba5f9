from . import test_ledger, test_security, test_statement, test_statement_run
