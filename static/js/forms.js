// Forms: a plain one shows that it is on its way; one that came back leads to what is wrong;
// an htmx one says so when the server could not be reached at all. A field that is only empty
// is read together with what is wrong with the whole form.
const away = "The server did not answer. Check your connection and try again.";

function lead() {
	const form = document.querySelector("form:has([aria-invalid=true], .problem)");
	const open = [...(form?.querySelectorAll("input:not([type=hidden]), select, textarea") ?? [])];
	const wrong = open.find((field) => field.ariaInvalid === "true");
	const empty = open.find((field) => !field.value);
	if (!wrong) empty?.setAttribute("aria-describedby", `problem ${empty.getAttribute("aria-describedby") ?? ""}`);
	(wrong ?? empty)?.focus();
}

document.addEventListener("htmx:after:swap", (event) => event.target.matches?.(".form") && lead());
window.addEventListener("DOMContentLoaded", lead);

document.addEventListener("submit", (event) => {
	if (event.target.hasAttribute("hx-post") || event.defaultPrevented) return;
	event.target.classList.add("htmx-request");
});

window.addEventListener("pageshow", () => {
	for (const form of document.querySelectorAll("form.htmx-request")) form.classList.remove("htmx-request");
});

document.addEventListener("htmx:error", (event) => {
	const source = event.detail.ctx?.sourceElement;
	const slot = (source?.closest?.(".actions") ?? source)?.querySelector?.(":scope > .problem-slot");
	if (!slot || event.detail.ctx.response) return;
	const text = document.createElement("p");
	text.className = "problem";
	text.textContent = away;
	slot.replaceChildren(text);
});
