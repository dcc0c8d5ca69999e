package static

import (
	"regexp"
	"strings"
	"testing"
)

// Conclave is meant to be whole in Safari 17 and Firefox 140, and in all browsers after them. What only
// younger ones know may make a page nicer, never be needed by it.

// youngCalls fail where they are unknown.
var youngCalls = regexp.MustCompile(`\.(checkVisibility|startViewTransition|moveBefore|setHTML|requestIdleCallback|scheduler|navigation|withResolvers|groupBy|union|intersection|difference|isSubsetOf|showPicker|caretPositionFromPoint)\b|(?:Promise\.try|RegExp\.escape|URL\.parse|AbortSignal\.any|Iterator\.|new (?:CloseWatcher|URLPattern|EditContext|Highlight)\b|Temporal\.|Intl\.DurationFormat)|"scrollend"`)

// youngStyle is meaning that gets lost, unless @supports asked before. (What is only skipped may stay:
// text-wrap, field-sizing with its other way, the names of transitions, overflow-anchor, scrollbar-gutter.)
var youngStyle = regexp.MustCompile(`\b(anchor-name|position-anchor|position-area|position-try|interpolate-size|animation-timeline|scroll-timeline|view-timeline|corner-shape|text-box)\s*:|\b(light-dark|anchor|anchor-size|calc-size|sibling-index|contrast-color|if)\(|@(?:starting-style|scope|function|position-try)\b|@container\s+style\(`)

// youngSelector is unknown to some, who then drop everything that stands in one list with it.
var youngSelector = regexp.MustCompile(`::(?:view-transition|details-content|picker|checkmark|scroll-marker|scroll-button|column|search-text|target-text|highlight|-webkit-|-moz-)|:(?:open|state|active-view-transition|interest-source|interest-target)\b`)

func TestNoPageNeedsABrowserOfThisYear(t *testing.T) {
	for _, name := range list(tree, "js/*.js") {
		for _, found := range youngCalls.FindAllString(string(read(tree, name)), -1) {
			t.Errorf("%s calls %s, which Safari 17 or Firefox 140 does not have", name, found)
		}
	}
	comment := regexp.MustCompile(`(?s)/\*.*?\*/`)
	rule := regexp.MustCompile(`[^{};]+\{`)
	for _, name := range list(tree, "css/*.css") {
		sheet := comment.ReplaceAllString(string(read(tree, name)), "")
		for _, found := range youngStyle.FindAllString(sheet, -1) {
			t.Errorf("%s needs %s, which Safari 17 or Firefox 140 does not have", name, found)
		}
		for _, head := range rule.FindAllString(sheet, -1) {
			for part := range strings.SplitSeq(strings.TrimSuffix(head, "{"), ",") {
				if youngSelector.MatchString(head) && !youngSelector.MatchString(part) {
					t.Errorf("%s: where %q is unknown, the rule is lost for %q too", name, youngSelector.FindString(head), strings.TrimSpace(part))
				}
			}
		}
		if uses := strings.Contains(sheet, "field-sizing: content"); uses && name != "css/composer.css" && !strings.Contains(sheet, "@supports not (field-sizing: content)") {
			t.Errorf("%s: a box that grows with its text has no other size where field-sizing is unknown", name)
		}
	}
	if !strings.Contains(string(read(tree, "js/composer.js")), `CSS.supports("field-sizing", "content")`) {
		t.Error("the composer does not grow where field-sizing is unknown")
	}
}
