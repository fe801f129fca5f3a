"""The one door through which a step begins an assessment.

What its event starts is dispatched from here; whoever waits for it is woken by the sweeper.
"""

from collections.abc import Sequence

from activities.clients.runs import Runs
from engine.call import StepCall
from engine.errors import Invalid, StepError
from engine.records import bare_id
from store import assessments, publishing, runs
from store.assessments import AssessmentRow, NewAssessment
from store.database import Database, Tx
from store.ids import derived_id
from store.publishing import Verdicts
from store.runs import RunRow


class Assessments:
    """The assessments of every organisation."""

    def __init__(self, database: Database, runs: Runs) -> None:
        self._database = database
        self._runs = runs

    async def launch(
        self,
        call: StepCall,
        org_id: str,
        *,
        vendor: str,
        services: Sequence[str],
        control_set_ids: Sequence[str],
        name: str | None,
    ) -> AssessmentRow:
        """Make the step's assessment, or find the one that an earlier attempt has made.

        Raises:
            StepError: `vendor_not_found`, `service_not_found`; neither can be retried.
            Unavailable: the database does not answer.
        """
        new = NewAssessment(
            id=derived_id(call.run, call.key),
            event_id=derived_id(call.run, f"{call.key}/created"),
            vendor_id=bare_id("Vendor", vendor) or "-",
            name=name,
            control_set_ids=control_set_ids,
            service_ids=[bare_id("Service", service) or "-" for service in services],
        )

        def work(tx: Tx, verdicts: Verdicts) -> tuple[AssessmentRow, list[RunRow]]:
            made = assessments.find(tx, new.id)
            if made is not None:
                return made, []
            run = runs.by_id(tx, call.run)
            event = assessments.prepare(tx, org_id, new, depth=run.depth + 1 if run else 1)
            return assessments.create(tx, org_id, new, event, verdicts)

        try:
            row, started = await publishing.publishing(self._database, work)
        except Invalid as error:
            raise StepError(error.stable_code, error.message, retryable=False) from error
        for run in started:
            await self._runs.dispatch(run)
        return row
