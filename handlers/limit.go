package handlers

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"conclave/models"
	"conclave/views"
)

// bucket allows count events per period for each key, and burst at once. It remembers the
// 10,000 keys that were used last; a forgotten one starts full.
type bucket struct {
	every    time.Duration
	burst    int
	limiters *lru.Cache[string, *rate.Limiter]
}

const bucketKeys = 10_000

func newBucket(count int, period time.Duration, burst, scale int) bucket {
	limiters, _ := lru.New[string, *rate.Limiter](bucketKeys) // fails for a size below 1 only
	return bucket{period / time.Duration(count*scale), burst * scale, limiters}
}

// take uses one event up, or says how long to wait.
func (b bucket) take(key string) error {
	fresh := rate.NewLimiter(rate.Every(b.every), b.burst)
	limiter, ok, _ := b.limiters.PeekOrAdd(key, fresh)
	if !ok {
		limiter = fresh
	}
	b.limiters.Get(key) // marks it as used
	r := limiter.Reserve()
	if wait := r.Delay(); wait > 0 {
		r.Cancel()
		return &models.Error{Kind: models.Limited, Msg: views.ErrorTooOften.With(models.InWords(wait)), Wait: wait}
	}
	return nil
}

// limits of SECURITY.md R54, against floods. What is against guessing stands in the database and
// survives a restart (models/throttle.go).
type limits struct {
	rooms    bucket // by user
	posts    bucket // by user and room
	sudo     bucket // by user
	account  bucket // by user: changes of the own account
	passkeys bucket // by address: challenges
	marks    bucket // by user and room
	typing   bucket // by user and room
	codes    bucket // by user
	manage   bucket // by user
}

func newLimits(scale int) limits {
	scale = max(scale, 1)
	return limits{
		rooms:    newBucket(20, time.Hour, 20, scale),
		posts:    newBucket(10, 10*time.Second, 20, scale),
		sudo:     newBucket(10, 15*time.Minute, 10, scale),
		account:  newBucket(30, time.Hour, 10, scale),
		passkeys: newBucket(60, 15*time.Minute, 60, scale),
		marks:    newBucket(2, time.Second, 20, scale), // several pages of one person, each once in two seconds
		typing:   newBucket(1, time.Second, 1, scale),
		codes:    newBucket(60, time.Hour, 30, scale),
		manage:   newBucket(30, time.Minute, 60, scale),
	}
}

// addressKey names where a request comes from.
func addressKey(c echo.Context) string { return models.Household(c.RealIP()) }
