"""The parts of Airflow 2.11's UI that a user of this provider sees."""

from __future__ import annotations

from urllib.parse import urlencode

from playwright.sync_api import Locator, Page, expect


class Airflow2Ui:
    """
    Drives the UI in one page.

    :param page: the page.
    :param base_url: URL of the UI.
    """

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.base_url = base_url

    @property
    def form(self) -> Locator:
        """The connection form."""
        return self.page.locator("#model_form")

    def open_new_connection(self, conn_id: str, conn_type: str) -> None:
        """Open the form for a new connection, and select its type."""
        self.page.goto(f"{self.base_url}/connection/add")
        self.form.get_by_label("Connection Id").fill(conn_id)
        self.form.locator("#conn_type + .select2 .select2-selection").click()
        self.page.locator(".select2-search__field").fill(conn_type)
        self.page.get_by_role("option", name=conn_type, exact=True).click()

    def open_saved_connection(self, conn_id: str) -> None:
        """Reload, and open the form of a saved connection."""
        self.page.goto(f"{self.base_url}/connection/list/")
        row = self.page.get_by_role("row").filter(has=self.page.get_by_role("cell", name=conn_id, exact=True))
        row.locator("a[href*='/connection/edit/']").click()
        expect(self.form.get_by_label("Connection Id")).to_have_value(conn_id)

    def field(self, label: str) -> Locator:
        """Return a visible field of the form."""
        return self.form.get_by_label(label, exact=True)

    def labels(self) -> list[str]:
        """Return the labels of the fields below the connection type, from top to bottom."""
        labels = self.form.locator("label").filter(visible=True).all_inner_texts()
        return [label.strip() for label in labels if not label.startswith("Connection ")]

    def description(self, label: str) -> str:
        """Return the text below a field."""
        return self.field(label).locator("xpath=..").locator(".help-block").inner_text()

    def shows_extra(self) -> bool:
        """Return whether the JSON of the extra is visible."""
        return self.form.locator(".CodeMirror, #extra").filter(visible=True).count() > 0

    def save(self) -> None:
        """Save the form, and wait until it closes."""
        self.form.get_by_role("button", name="Save").click()
        expect(self.form).to_be_hidden()

    def test_connection(self, conn_id: str) -> str:
        """Press the test button of the open form, and return the answer."""
        self.form.get_by_role("button", name="Test").click()
        answer = self.page.locator(".alert").filter(visible=True)
        expect(answer).to_contain_text("You.com")
        # It stands above the form, whose button is at its end.
        self.page.evaluate("scrollTo(0, 0)")
        return answer.inner_text()

    def trigger(self, dag_id: str) -> None:
        """Start a run of a DAG with its default parameters."""
        self.page.goto(f"{self.base_url}/dags/{dag_id}/trigger")
        self.page.get_by_role("button", name="Trigger", exact=True).first.click()
        self.page.wait_for_url(lambda url: "/trigger" not in url)

    def read_log(self, dag_id: str, run_id: str, task_id: str, sentence: str) -> str:
        """Open a task's log with wrapped lines, wait until it contains a sentence, and return the log."""
        self._open_task(dag_id, run_id, task_id, "logs")
        log = self.page.locator("code").filter(visible=True)
        expect(log).to_be_visible()
        self.page.get_by_text("Wrap", exact=True).click()
        expect(log).to_contain_text(sentence)
        return log.inner_text()

    def open_details(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Open the tab with a task's extra links."""
        self._open_task(dag_id, run_id, task_id, "details")

    def open_rendered_templates(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Open the page with a task's rendered template fields, through its details."""
        self._open_task(dag_id, run_id, task_id, "details")
        self.page.get_by_role("link", name="More Details").click()
        self.page.get_by_role("link", name="Rendered Template").click()

    def rendered(self, field: str) -> str:
        """Return the rendered value of a template field of the open task."""
        heading = self.page.get_by_role("heading", name=field, exact=True)
        return heading.locator("xpath=following-sibling::*[1]").inner_text().strip().split("\n")[-1].strip()

    def link(self, name: str) -> str | None:
        """Return the URL of an extra link of the open task."""
        link = self.page.get_by_role("link", name=name)
        expect(link).to_be_visible()
        return link.get_attribute("href")

    def shows_state(self, state: str) -> None:
        """Wait until the task's details show a state."""
        expect(self.page.get_by_text(state.lower(), exact=True).last).to_be_visible()

    def _open_task(self, dag_id: str, run_id: str, task_id: str, tab: str) -> None:
        query = urlencode({"dag_run_id": run_id, "task_id": task_id, "tab": tab})
        self.page.goto(f"{self.base_url}/dags/{dag_id}/grid?{query}")
