from odoo import Command, api, models

MAX_PASSES = 50


class Skipped:
    """Collects the records that were known. Not a list: environments whose contexts are equal
    are one, and empty lists are equal."""

    def __init__(self):
        self.records = []


class BillingImportMixin(models.AbstractModel):
    """Odoo's import, but bad rows do not keep out the good ones, and a file that comes twice adds
    nothing.

    A model says which records are known already in ``_get_known_records``."""

    _name = "billing.import.mixin"
    _description = "Import that keeps the good rows"

    @api.model
    def load(self, fields, data):
        """Import rows: good ones are taken, bad ones reported, known ones left as they are.

        :return: as ``load`` does everywhere; ``ids`` are those of the good rows, also when there
            are messages of type ``error``; ``record`` of a message is its first row (from 0)
        """
        if "module" in self.env.context:  # data files of modules: all or nothing
            return super().load(fields, data)
        skipped = Skipped()
        loader = self.with_context(billing_import_skipped=skipped)
        rows, messages = list(range(len(data))), []
        for _number in range(MAX_PASSES):
            skipped.records = []
            result = super(BillingImportMixin, loader).load(fields, [data[row] for row in rows])
            found = self._get_own_messages(result["messages"])
            errors = [message for message in found if message.get("type") == "error"]
            messages += [self._move_message(message, rows) for message in errors]
            if not errors or not all("rows" in message for message in errors):
                break
            bad = {
                index
                for message in errors
                for index in range(message["rows"]["from"], message["rows"]["to"] + 1)
            }
            rows = [row for index, row in enumerate(rows) if index not in bad]
        messages += [self._move_message(m, rows) for m in found if m.get("type") != "error"]
        nextrow = result["nextrow"]
        messages += self._get_import_summary(result["ids"], skipped.records, messages)
        return {
            "ids": result["ids"] or ([] if not messages else False),
            "messages": messages,
            "nextrow": rows[nextrow] if nextrow and nextrow < len(rows) else 0,
        }

    @api.model
    def _get_own_messages(self, messages):
        """The first error of each row: later ones follow from it. Odoo gives a copy of a row's
        error to the first row, which is left out too."""
        if len(messages) > 1 and messages[0].get("type") == "error":
            text = messages[0].get("message")
            if any(m.get("message") == text and m.get("rows") for m in messages[1:]):
                messages = messages[1:]
        first, others = {}, []
        for message in messages:
            if message.get("type") == "error" and "rows" in message:
                first.setdefault(message["rows"]["from"], message)
            else:
                others.append(message)
        return [*first.values(), *others]

    @api.model
    def _move_message(self, message, rows):
        """The message with the row numbers of the whole file."""
        if "rows" not in message:
            return message
        first, last = (rows[message["rows"][name]] for name in ("from", "to"))
        return {**message, "record": first, "rows": {"from": first, "to": last}}

    @api.model
    def _get_import_summary(self, ids, skipped, messages):
        """One message for people when not every row was taken."""
        texts = []
        if skipped:
            texts.append(
                self.env._(
                    "%(count)s records were imported before (or are repeated) and are left as they are.",
                    count=len(skipped),
                )
            )
        if any(message.get("type") == "error" for message in messages):
            taken = len(set(ids or [])) - sum(bool(record) for record in skipped)
            texts.append(
                self.env._(
                    "%(count)s new records are good. Correct the rows named here and import the "
                    "same file again: what is there already is not added twice.",
                    count=max(taken, 0),
                )
            )
        return [{"type": "warning", "message": " ".join(texts)}] if texts else []

    @api.model
    def _load_records(self, data_list, update=False):
        skipped = self.env.context.get("billing_import_skipped")
        if skipped is None or update:
            return super()._load_records(data_list, update)
        data_list = self._identify_rows(data_list)
        known = self._get_known_records(data_list)
        skipped.records += known.values()
        fresh = [
            {**data, "values": self._drop_empty(data["values"])}
            for index, data in enumerate(data_list)
            if index not in known
        ]
        records = super()._load_records(fresh, update) if fresh else self.browse()
        return records.union(*known.values())

    @api.model
    def _identify_rows(self, data_list):
        """Override to give rows without an external id one of their own (``xml_id``), by which
        they are known when they come again. Returns the rows, in the same order."""
        return data_list

    @api.model
    def _drop_empty(self, values):
        """Values of a row without those of empty cells: they get their defaults."""
        kept = {}
        for name, value in values.items():
            field = self._fields.get(name)
            if field and value is False and field.type != "boolean":
                continue
            if field and field.type == "one2many" and value:
                comodel = self.env[field.comodel_name]
                value = [
                    (code, record_id, BillingImportMixin._drop_empty(comodel, line))
                    if code == Command.CREATE
                    else (code, record_id, line)
                    for code, record_id, line in value
                ]
            kept[name] = value
        return kept

    @api.model
    def _get_known_records(self, data_list):
        """Which of the converted rows are there already, or are repeated in the file.

        Override to add a key of the model.

        :return: {index in ``data_list``: record}; by default by external id
        """
        xml_ids = [data["xml_id"] for data in data_list if data.get("xml_id")]
        found = {
            f"{module}.{name}": record_id
            for _id, module, name, model, record_id, _noupdate, exists in self.env["ir.model.data"]
            .sudo()  # sudo: as Odoo's own import
            ._lookup_xmlids(xml_ids, self)
            if exists and model == self._name
        }
        return {
            index: self.browse(found[data["xml_id"]])
            for index, data in enumerate(data_list)
            if data.get("xml_id") in found
        }
