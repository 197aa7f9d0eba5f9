def migrate(cr, version):
    """Disputes know the day they were opened: so far that of the record."""
    cr.execute("ALTER TABLE billing_dispute ADD COLUMN IF NOT EXISTS date_opened date")
    cr.execute("UPDATE billing_dispute SET date_opened = create_date WHERE date_opened IS NULL")
