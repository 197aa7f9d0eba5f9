from . import test_security, test_statement, test_statement_run
