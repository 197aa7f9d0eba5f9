from . import test_document, test_ledger, test_portal, test_security, test_statement, test_statement_run
