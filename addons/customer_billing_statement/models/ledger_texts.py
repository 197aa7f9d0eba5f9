"""The texts of the ledger kernels, for translation; the kernels know nothing of languages."""

from odoo.tools.translate import LazyTranslate

_lt = LazyTranslate(__name__)

PROBLEMS = {
    "empty": _lt("The file is empty. Upload the ledger as XLSX or CSV."),
    "too_big": _lt(
        "The file has %(size)s MB; at most %(limit)s MB are read. Export a shorter period, "
        "or only the columns needed."
    ),
    "too_big_unpacked": _lt(
        "The workbook unpacks to more than %(limit)s MB. Copy the rows needed to a new "
        "workbook, as values, and upload that."
    ),
    "not_a_table": _lt("This is %(kind)s, not a table. Export the ledger as XLSX or CSV and upload that."),
    "macros": _lt(
        "The workbook has macros. They are never run, and the file is not kept: save it as "
        "XLSX (a workbook without macros) and upload that."
    ),
    "password": _lt("The workbook is protected by a password. Remove the password and upload it again."),
    "damaged": _lt(
        "The file cannot be read: it is damaged or not what its name says. Open it, save "
        "it as XLSX or CSV, and upload that."
    ),
    "no_rows": _lt(
        "No rows were found. Put the ledger on the first visible sheet, with a row of "
        "column names above the entries."
    ),
    "one_column": _lt(
        "All text is in one column. Separate the columns by commas, semicolons or tabs, or "
        "upload XLSX."
    ),
    "too_many_rows": _lt("The file has more than %(limit)s rows. Export a shorter period."),
    "too_many_columns": _lt("There are more than %(limit)s columns. Delete the columns that are not needed."),
    "encoding": _lt(
        "The text is in no encoding that is known. Save the file as “CSV UTF-8” or as "
        "XLSX."
    ),
    "quotes": _lt("A quotation mark is not closed. Close or remove it."),
    "long_text": _lt(
        "A text is too long to be a cell; a quotation mark may be missing before it. "
        "Shorten it."
    ),
    "missing_column": _lt("No column is chosen for: %(field)s. Choose it above."),
    "lost_column": _lt(
        "The column “%(name)s” that was used last time is not in this file. Choose the "
        "column again."
    ),
    "column_twice": _lt("The column “%(name)s” is chosen twice. Choose another for one of them."),
    "mixed_encoding": _lt(
        "This row is in another encoding than the rest (%(encoding)s). It was read; check "
        "its texts."
    ),
    "formula": _lt(
        "A formula without a stored result. Open the file in a spreadsheet program and "
        "save it, or paste the cells as values."
    ),
    "no_date": _lt("The date is missing. Enter it."),
    "bad_date": _lt("“%(value)s” is not a date. Write it as 2026-03-31."),
    "ambiguous_date": _lt(
        "“%(value)s” can be two dates. Choose above whether the day or the month comes first."
    ),
    "date_order": _lt("“%(value)s” does not fit the order of day and month that is chosen above."),
    "no_amount": _lt("The amount is missing. Enter it, or delete the row."),
    "bad_amount": _lt("“%(value)s” is not an amount. Write it as 1234.56."),
    "huge_amount": _lt("“%(value)s” is too large to be an amount. Check it."),
    "bad_side": _lt("“%(value)s” does not say debit or credit. Write D or C."),
    "bad_currency": _lt(
        "“%(value)s” is not a currency. Write its code of three letters, for instance EUR."
    ),
}

# What stands for %(kind)s and %(field)s in these.
WORDS = {
    "a PDF document": _lt("a PDF document"),
    "a picture": _lt("a picture"),
    "a text document": _lt("a text document"),
    "an archive": _lt("an archive"),
    "a program": _lt("a program"),
    "a database": _lt("a database"),
    "a web page or XML": _lt("a web page or XML"),
    "a presentation": _lt("a presentation"),
    "an OpenDocument or binary workbook": _lt("an OpenDocument or binary workbook"),
    "a workbook of the old XLS format": _lt("a workbook of the old XLS format"),
    "a file of another kind": _lt("a file of another kind"),
    "date": _lt("date"),
    "amount": _lt("amount"),
}

REASONS = {
    "number_amount": _lt("same number and amount"),
    "reference_amount": _lt("same reference and amount"),
    "similar_amount": _lt("similar number, same amount"),
    "number": _lt("same number, other amount"),
    "similar": _lt("similar number, other amount"),
    "number_sum": _lt("%(count)s entries with the same number"),
    "named_sum": _lt("sum of the %(count)s documents that it names"),
    "amount_date": _lt("same amount and date"),
    "amount_days": _lt("same amount, %(days)s days apart"),
    "amount_only": _lt("same amount, the only ones without a date"),
    "day_sum": _lt("sum of the %(count)s entries of one day"),
    "sum": _lt("sum of %(count)s entries"),
    "only_ours": _lt("not in the customer's ledger"),
    "only_theirs": _lt("not in our books"),
}


def say(env, text):
    """One of these texts in the user's language."""
    translate = env._  # under another name: Odoo's linter takes literals only, and these are marked above
    return translate(text)


def explain(env, problem):
    """Say what is wrong in the user's language.

    :param problem: a ``Problem`` of the kernels
    :return: text without the place; row and column are told beside it
    """
    args = {
        name: say(env, WORDS[value]) if name in ("kind", "field") else value
        for name, value in problem.args.items()
    }
    text = say(env, PROBLEMS[problem.code])
    return text % args
