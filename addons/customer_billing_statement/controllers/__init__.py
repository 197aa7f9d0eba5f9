from . import ledger, portal, statement_archive
