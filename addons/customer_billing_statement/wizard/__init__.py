from . import (
    base_partner_merge,
    billing_statement_archive,
    billing_statement_confirmation,
    billing_statement_verification,
)
