// A list with data-rove is one stop for the Tab key: what its value selects is walked through with
// the arrow keys. In the messages, the stop is the newest one until somebody moves; and whoever
// hears the page is told which message it is.
function rove(list) {
	const items = () => [...list.querySelectorAll(list.dataset.rove)];
	let stop = null;

	function settle() {
		const all = items();
		if (!all.includes(stop) || !list.contains(document.activeElement)) {
			stop = all.find((item) => item.ariaCurrent) ?? all.at(list.matches("ol") ? -1 : 0);
		}
		for (const item of all) if (item.tabIndex !== (item === stop ? 0 : -1)) item.tabIndex = item === stop ? 0 : -1;
	}

	function describe(item) {
		const parts = [...item.closest("li").querySelectorAll(":scope > :is(.message-head, .body)")];
		for (const part of parts) part.id ||= `${item.closest("li").id}-${part.classList[0]}`;
		if (parts.length) item.setAttribute("aria-describedby", parts.map((part) => part.id).join(" "));
	}

	list.addEventListener("focusin", ({ target }) => {
		if (!target.matches(list.dataset.rove)) return;
		stop = target;
		describe(target);
		settle();
	});
	list.addEventListener("focusout", () => setTimeout(settle));
	list.addEventListener("keydown", (event) => {
		const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
		if (!step || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
		const all = items(), next = all.includes(event.target) && all[all.indexOf(event.target) + step];
		if (!next) return;
		event.preventDefault();
		next.focus({ preventScroll: true });
		next.closest("li").scrollIntoView({ block: "nearest" });
	});
	new MutationObserver(settle).observe(list, { childList: true, subtree: true, attributeFilter: ["hidden"] });
	settle();
}

for (const list of document.querySelectorAll("[data-rove]")) rove(list);
