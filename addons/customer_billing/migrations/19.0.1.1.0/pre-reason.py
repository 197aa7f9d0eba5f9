def migrate(cr, version):
    """Reasons of run lines were sentences; they become a code and what its text names."""
    cr.execute("ALTER TABLE billing_run_line ADD COLUMN IF NOT EXISTS reason_code varchar")
    cr.execute("ALTER TABLE billing_run_line ADD COLUMN IF NOT EXISTS reason_values jsonb")
    cr.execute(
        """
        UPDATE billing_run_line
           SET reason_code = 'text', reason_values = jsonb_build_object('text', reason)
         WHERE reason IS NOT NULL AND reason_code IS NULL
        """
    )
