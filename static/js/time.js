// <local-time> shows a moment in the reader's own zone and language: show "time" beside a
// message (in a room its day stands on the day line), show "day" for one that may be long ago. With
// show "utc" it is a day of UTC, which is the same day everywhere.
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const both = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const dayMonth = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayYear = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

const utc = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });

function short(at, show) {
	const now = new Date();
	if (show === "time" || at.toDateString() === now.toDateString()) return clock.format(at);
	return (at.getFullYear() === now.getFullYear() ? dayMonth : dayYear).format(at);
}

customElements.define("local-time", class extends HTMLElement {
	connectedCallback() {
		const time = this.querySelector("time");
		const at = new Date(time?.dateTime ?? NaN);
		if (Number.isNaN(at.getTime())) return;
		const alone = this.dataset.show === "time" && !this.closest("message-list");
		if (this.dataset.show === "utc") return void (time.textContent = utc.format(at));
		time.textContent = alone ? both.format(at) : short(at, this.dataset.show);
		time.title = full.format(at);
	}
});
