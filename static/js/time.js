// <local-time> shows a moment in the reader's own zone and language: style "time" beside a
// message (its day stands on the day line), style "day" for a moment that may be long ago.
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const dayMonth = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayYear = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

function short(at, style) {
	const now = new Date();
	if (style === "time" || at.toDateString() === now.toDateString()) return clock.format(at);
	return (at.getFullYear() === now.getFullYear() ? dayMonth : dayYear).format(at);
}

customElements.define("local-time", class extends HTMLElement {
	connectedCallback() {
		const time = this.querySelector("time");
		const at = new Date(time?.dateTime ?? NaN);
		if (Number.isNaN(at.getTime())) return;
		time.textContent = short(at, this.dataset.style);
		time.title = full.format(at);
	}
});
