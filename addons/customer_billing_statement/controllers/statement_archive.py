from werkzeug.wsgi import wrap_file

from odoo import http
from odoo.http import content_disposition, request


class StatementArchive(http.Controller):
    @http.route("/billing/statements/archive/<int:archive_id>", type="http", auth="user", readonly=False)
    def download(self, archive_id):
        """The archive that the user has asked for, as ZIP."""
        archive = request.env["billing.statement.archive"].browse(archive_id).exists()
        if not archive or not archive.has_access("read"):
            return request.not_found()
        file, has_problems = archive._write_zip()
        response = request.make_response(
            wrap_file(request.httprequest.environ, file),
            headers=[
                ("Content-Type", "application/zip"),
                ("Content-Length", file.seek(0, 2)),
                ("Content-Disposition", content_disposition(archive._get_file_name(has_problems))),
            ],
        )
        file.seek(0)
        response.direct_passthrough = True
        return response
