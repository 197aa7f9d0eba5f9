import logging
import random
import time
from datetime import timedelta

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError, UserError
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import split_every

_logger = logging.getLogger(__name__)

BUSY = timedelta(minutes=1)  # until a record that another transaction holds is looked at again
MAX_TRIES = 5  # of a step of the background job that collides with other work


class BillingJobMixin(models.AbstractModel):
    """Records whose steps are done on a click when they are small, else by a background job.

    A model has ``name``, ``company_id``, ``state``, a chatter, and ``job``: a protected selection
    of the steps that can be handed over. It gives

    - ``_job_cron``: the external id of the scheduled action, whose code calls
      ``_cron_run_jobs``;
    - ``_job_inline_limit``: up to how many records a step is small;
    - ``_get_job_steps``: what is left of the job, found by the state of the data, so that a job
      goes on wherever it was stopped;
    - ``_get_next_job``, ``_with_job_user``, ``_get_job_domain`` where the defaults do not fit.

    It gets steps in chunks, each a commit of its own by ``ir.cron._commit_progress``. A chunk that
    collides with other work is tried again, and never recorded as bad data. Any other error ends
    the job and is told on the record, so that other records go on.
    """

    _name = "billing.job.mixin"
    _description = "Steps in the background"

    _job_cron = None
    _job_inline_limit = 500

    def _check_state(self, *states):
        """Raise when the record is not in one of ``states``, or the user may not work on it."""
        self._check_idle()
        labels = dict(self._fields["state"]._description_selection(self.env))
        if self.state not in states:
            raise UserError(
                self.env._(
                    "%(run)s is in state “%(state)s”; this step is for %(expected)s.",
                    run=self.name,
                    state=labels[self.state],
                    expected=", ".join(f"“{labels[state]}”" for state in states),
                )
            )

    def _check_idle(self):
        """Raise when the user may not work on the record, or somebody else does just now."""
        self.ensure_one()
        self.check_access("write")
        if self.job or not self.try_lock_for_update(allow_referencing=True):
            raise UserError(
                self.env._("The background job is at work on %s. Wait until it is done.", self.name)
            )

    def _hand_over(self, job, size):
        """Leave a large step to the background job; returns whether it did."""
        if size <= self._job_inline_limit:
            return False
        self.sudo().job = job  # protected field
        self._trigger_job()
        return True

    @api.model
    def _trigger_job(self):
        """Let the background job begin as soon as this transaction is committed."""
        self.env.ref(self._job_cron).sudo()._trigger()

    @api.model
    def _cron_run_jobs(self):
        """Do the steps that were handed over, chunk by chunk, each chunk its own commit."""
        for record in self.search(self._get_job_domain(), order="id"):
            if not record._work():
                return

    @api.model
    def _get_job_domain(self):
        """The records that the background job has something to do for."""
        return [("job", "!=", False)]

    def _work(self):
        """Do the jobs of this record, from where it stopped. Stopping anywhere is safe.

        Collisions with other work are tried again, at last by the next call of the job; any
        other error ends the job and is told on the record, so that other records go on.

        :return: whether there is time left
        """
        record = self._with_job_user()
        try:
            return record._work_jobs()
        except (OperationalError, ConcurrencyError) as error:
            self.env.cr.rollback()
            _logger.warning("%s %s: the job goes on later: %s", self._description, self.name, error)
        except Exception as error:
            self.env.cr.rollback()
            _logger.exception("%s %s: the job has stopped", self._description, self.name)
            record.sudo().job = False  # protected field
            record.message_post(body=self.env._("The background job has stopped: %s", error))
            self.env["ir.cron"]._commit_progress()
        return True

    def _with_job_user(self):
        """This record in its company, as the user of the scheduled action or whose step it is."""
        return self.with_company(self.company_id).with_context(
            allowed_company_ids=self.company_id.ids
        )

    def _work_jobs(self):
        """Do one job after the other; returns whether there is time left."""
        while job := self.job:
            if not self._work_job():
                return False
            if self.job == job:  # another transaction holds the record
                self.env.ref(self._job_cron).sudo()._trigger(fields.Datetime.now() + BUSY)
                break
        return True

    def _work_job(self):
        """Do one job; returns whether there is time left."""
        commit = self.env["ir.cron"]._commit_progress
        job, (steps, finish) = self.job, self._get_job_steps()
        commit(remaining=1)
        for method, records in steps:
            if not self._attempt(job, method, records):
                return True
            if not commit(len(records), remaining=1):
                return False
        self._attempt(job, self._finish_job, finish)
        return bool(commit(1))

    def _get_job_steps(self):
        """What is left of the job: (method, records) of each chunk, and the method that ends it.

        The chunks may be found one after the other, each when its turn comes.
        """
        raise NotImplementedError

    @api.model
    def _split_step(self, method, records, size):
        """``method`` for parts of ``records``, as list of (method, records)."""
        return [(method, records.browse(ids)) for ids in split_every(size, records.ids)]

    def _attempt(self, job, method, argument):
        """Call ``method``, again when it collides with other work.

        :return: False when another worker has taken or ended the job
        """
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                if not self.try_lock_for_update(allow_referencing=True) or self.job != job:
                    return False
                method(argument)
                self.env.flush_all()
                return True
            except (OperationalError, ConcurrencyError) as error:
                retry = isinstance(error, (ConcurrencyError, *PG_CONCURRENCY_EXCEPTIONS_TO_RETRY))
                if not retry or not tries_left:
                    raise
                _logger.info(
                    "%s %s: a step is tried again: %s", self._description, self.name, error
                )
                self.env.cr.rollback()
                time.sleep(random.uniform(0.0, 2 ** (MAX_TRIES - tries_left) / 10))
        return False

    def _finish_job(self, finish):
        """End a job and set the next one, in one transaction."""
        finish()
        next_job = self._get_next_job()
        if self.job != next_job:
            self.sudo().job = next_job  # protected field

    def _get_next_job(self):
        """The job that follows the one just done; by default a person takes the next step."""
        return False
