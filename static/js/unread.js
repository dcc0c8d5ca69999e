// What is unread elsewhere: in the lists of rooms, at the way home, in the title and on its icon. Of the room
// that the page shows, the page's own count is taken (mark.js); of the others, what the feed says.
const unread = "unread";
const told = document.getElementById("unreads");
const here = document.querySelector(".talk[data-room]")?.dataset.room;
const list = document.getElementById("messages");
const elsewhere = document.getElementById("elsewhere");
const cards = () => [...document.querySelectorAll(".unread[data-room]")]; // the list may be replaced
const title = document.title;
const icon = document.querySelector("link[rel=icon]");
let heard = Boolean(told?.firstElementChild); // until then the cards know best
const few = (count) => count > 99 ? "99+" : String(count);

function put(place, count) {
	const word = document.createElement("span");
	word.className = "visually-hidden";
	word.textContent = " " + unread;
	place.dataset.count = count;
	place.replaceChildren(...(count ? [few(count), word] : []));
}

function show() {
	const counts = new Map(heard
		? [...told.children].map((one) => [one.id.slice("unread-".length), Number(one.dataset.count)])
		: cards().map((card) => [card.dataset.room, Number(card.dataset.count)]));
	if (here) counts.set(here, Number(list.dataset.unread ?? counts.get(here) ?? 0));
	for (const card of cards()) if (heard || card.dataset.room === here) put(card, counts.get(card.dataset.room) ?? 0);
	const own = counts.get(here) ?? 0;
	counts.delete(here);
	let sum = 0;
	for (const count of counts.values()) sum += count;
	if (elsewhere) put(elsewhere, sum);
	sum += own;
	document.title = sum ? `(${few(sum)}) ${title}` : title;
	const mark = icon.href.replace(/icon[^/]*$/, sum ? `icon-${sum > 9 ? "more" : sum}.svg` : "icon.svg");
	if (icon.href !== mark) icon.href = mark;
}

if (told) {
	new MutationObserver(() => { heard = true; show(); }).observe(told, { childList: true });
	if (here) new MutationObserver(show).observe(list, { attributeFilter: ["data-unread"] });
	show();
}
