// What a screen reader says of new messages: each one by somebody else, once, as it comes; more than a
// few at once are a number, and so is what a page missed that was away for long. Older pages, changes,
// and what the page began with are not said. In a hidden tab it waits.
const text = {
	fresh: { one: "{} new message", other: "{} new messages" },
	missed: { one: "More than {} new message", other: "More than {} new messages" },
};
const digits = new Intl.NumberFormat();
const plural = new Intl.PluralRules(document.documentElement.lang);
const list = document.getElementById("messages");
const region = document.getElementById("spoken");
const few = 4, pause = 400, memory = 10000; // milliseconds
const number = (li) => Number(li?.id.slice(2));
const part = (li, selector) => li.querySelector(selector).textContent.trim();
const amount = (count) => (missed ? text.missed : text.fresh)[plural.select(count)].replace("{}", digits.format(count));
let last, missed = false, timer = 0, unsaid = [];

function hear() {
	const came = [];
	for (let li = list.lastElementChild; number(li) > last; li = li.previousElementSibling) came.unshift(li.id);
	if (!came.length) return;
	const first = document.getElementById(came[0]); // of a refresh, if there is nothing before it or what is there is old
	missed ||= number(first) > last + 1 && (!first.previousElementSibling || Boolean(list.querySelector("[data-stale]")));
	last = number(list.lastElementChild);
	unsaid.push(...came);
	timer ||= setTimeout(say, pause);
}

// say looks at the messages as they are now: one that was removed meanwhile is no news.
function say() {
	timer = 0;
	if (document.hidden) return;
	const news = unsaid.map((id) => document.getElementById(id)).filter((li) => li?.matches(".message:not(.removed)") && li.dataset.author !== list.dataset.me);
	for (const words of missed || news.length > few ? [amount(news.length)] : news.map((li) => `${part(li, ".author")}: ${part(li, ".body")}`)) {
		const line = document.createElement("p");
		line.dir = "auto";
		line.textContent = words;
		region.append(line);
		setTimeout(() => line.remove(), memory);
	}
	unsaid = [];
	missed = false;
}

if (region) {
	last = Number(/[?&]after=(\d+)/.exec(document.querySelector(".talk > .feed").getAttribute("hx-sse:connect"))[1]);
	new MutationObserver(hear).observe(list, { childList: true });
	document.addEventListener("visibilitychange", say);
	hear(); // the feed may have been quicker than this script
}
