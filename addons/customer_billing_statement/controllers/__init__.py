from . import ledger, statement_archive
