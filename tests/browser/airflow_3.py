"""The parts of Airflow 3's UI that a user of this provider sees."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from playwright.sync_api import Locator, Page, expect

FORM_SECTIONS = ("Standard Fields", "Extra Fields")
TASK_TABS = {"Logs": "", "Details": "/details", "Rendered Templates": "/rendered_templates"}


class Airflow3Ui:
    """
    Drives the UI in one page.

    :param page: the page.
    :param base_url: URL of the UI.
    """

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        # The UI keeps this setting from page to page.
        self._wraps_lines = False

    @property
    def form(self) -> Locator:
        """The connection form."""
        return self.page.get_by_role("dialog")

    def open_new_connection(self, conn_id: str, conn_type: str) -> None:
        """Open the form for a new connection, and select its type."""
        self.page.goto(f"{self.base_url}/connections")
        self.page.get_by_role("button", name="Add Connection").click()
        self.form.get_by_label("Connection ID").fill(conn_id)
        self.page.get_by_role("combobox").click()
        self.page.keyboard.type(conn_type)
        self.page.get_by_role("option", name=conn_type, exact=True).click()

    def open_saved_connection(self, conn_id: str) -> None:
        """Reload, and open the form of a saved connection."""
        self._row(conn_id).get_by_role("button", name="Edit Connection").click()
        expect(self.form).to_contain_text("Standard Fields")

    def field(self, label: str) -> Locator:
        """Return a visible field of the form."""
        field = self.form.get_by_label(label, exact=True)
        if not field.is_visible():
            self._unfold(next(name for name in FORM_SECTIONS if self._labels_in(name).count(label)))
        return field

    def labels(self) -> list[str]:
        """Return the labels of the form, from top to bottom."""
        found = []
        for name in FORM_SECTIONS:
            self._unfold(name)
            found += self._labels_in(name)
        self._unfold(FORM_SECTIONS[0])
        return found

    def description(self, label: str) -> str:
        """Return the text below a field."""
        field = self.field(label)
        return self.page.locator(f"[id='{field.get_attribute('aria-describedby')}']").inner_text()

    def shows_extra(self) -> bool:
        """Return whether the JSON of the extra is visible; its heading always is."""
        return self.form.get_by_role("textbox", name="Editor content").is_visible()

    def save(self) -> None:
        """Save the form, and wait until it closes."""
        self.form.get_by_role("button", name="Save").click()
        expect(self.form).to_be_hidden()

    def test_connection(self, conn_id: str) -> str:
        """Save the form, press the test button in the list, and return the answer."""
        self.save()
        answer = self._press_test(conn_id)
        if "Bad Request" in answer:
            # Airflow 3.3.1 and 3.3.2 cannot test a connection without a port, whatever its type:
            # https://github.com/apache/airflow/pull/73298
            self._give_port(conn_id)
            answer = self._press_test(conn_id)
        return answer

    def trigger(self, dag_id: str) -> None:
        """Start a run of a DAG with its default parameters."""
        self.page.goto(f"{self.base_url}/dags/{dag_id}")
        self.page.get_by_role("button", name="Trigger Dag").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("button", name="Trigger", exact=True).click()
        expect(dialog).to_be_hidden()

    def read_log(self, dag_id: str, run_id: str, task_id: str, sentence: str) -> str:
        """Open a task's log with wrapped lines, wait until it contains a sentence, and return the log."""
        self._open_task(dag_id, run_id, task_id, "Logs")
        expect(self.page.get_by_text("Log message source details")).to_be_visible()
        if not self._wraps_lines:
            self.page.keyboard.press("w")
            self._wraps_lines = True
        page = self.page.locator("body")
        expect(page).to_contain_text(sentence)
        return page.inner_text()

    def open_details(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Open the tab with a task's extra links."""
        self._open_task(dag_id, run_id, task_id, "Details")

    def open_rendered_templates(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Open the tab with a task's rendered template fields."""
        self._open_task(dag_id, run_id, task_id, "Rendered Templates")

    def rendered(self, field: str) -> str:
        """Return the rendered value of a template field of the open task."""
        row = self.page.get_by_role("row").filter(has_text=field)
        _line_number, value, *_ = row.get_by_role("cell").last.inner_text().split("\n")
        return value

    def link(self, name: str) -> str | None:
        """Return the URL of an extra link of the open task."""
        link = self.page.get_by_role("link", name=name)
        expect(link).to_be_visible()
        return link.get_attribute("href")

    def shows_state(self, state: str) -> None:
        """Wait until the page shows a state of the task."""
        expect(self.page.get_by_text(state, exact=True).first).to_be_visible()

    def _press_test(self, conn_id: str) -> str:
        self._row(conn_id).get_by_role("button", name="Test Connection").click()
        answer = self.page.locator("[data-scope=toast][data-part=root]").filter(has_text="Test Connection")
        expect(answer).to_be_visible()
        return answer.inner_text()

    def _give_port(self, conn_id: str) -> None:
        url = f"{self.base_url}/api/v2/connections/{conn_id}"
        host = self.page.request.get(url, fail_on_status_code=True).json()["host"]
        # The hook refuses a port that contradicts the Base URL's.
        self.page.request.patch(
            f"{url}?update_mask=port",
            data={"connection_id": conn_id, "conn_type": "youcom", "port": urlsplit(host).port},
            fail_on_status_code=True,
        )

    def _open_task(self, dag_id: str, run_id: str, task_id: str, tab: str) -> None:
        task = f"{self.base_url}/dags/{dag_id}/runs/{quote(run_id)}/tasks/{task_id}"
        if self.page.url.startswith(task):
            self.page.get_by_role("link", name=tab, exact=True).click()
        else:
            self.page.goto(f"{task}{TASK_TABS[tab]}")

    def _row(self, conn_id: str) -> Locator:
        self.page.goto(f"{self.base_url}/connections")
        return self.page.get_by_role("row").filter(has=self.page.get_by_text(conn_id, exact=True))

    def _section(self, name: str) -> Locator:
        return self.form.locator(f"[id='{self._heading(name).get_attribute('aria-controls')}']")

    def _heading(self, section: str) -> Locator:
        return self.form.get_by_role("button", name=section, exact=True)

    def _labels_in(self, section: str) -> list[str]:
        labels = self._section(section).locator("label").all_text_contents()
        return [label.strip() for label in labels]

    def _unfold(self, name: str) -> None:
        heading = self._heading(name)
        if heading.get_attribute("aria-expanded") != "true":
            heading.click()
        expect(self._section(name).locator("label").first).to_be_visible()
