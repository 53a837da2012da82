package webhook

import (
	"container/list"
	"sync"
	"time"
)

// recent is a map of bounded size that evicts the least recently used entry. It is safe for concurrent use.
type recent[K comparable, V any] struct {
	mu    sync.Mutex
	most  int
	age   time.Duration // entries older than that have expired; 0 for no expiry
	order *list.List    // of *entry, newest first
	items map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
	at    time.Time
}

func newRecent[K comparable, V any](most int, age time.Duration) *recent[K, V] {
	return &recent[K, V]{most: most, age: age, order: list.New(), items: map[K]*list.Element{}}
}

// getOrMake returns the value of a key, or creates it with fresh, and reports whether it created it.
func (r *recent[K, V]) getOrMake(key K, now time.Time, fresh func() V) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if value, found := r.find(key, now); found {
		return value, true
	}
	value := fresh()
	r.items[key] = r.order.PushFront(&entry[K, V]{key, value, now})
	for r.order.Len() > r.most {
		r.remove(r.order.Back())
	}
	return value, false
}

// has reports whether a key exists.
func (r *recent[K, V]) has(key K, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, found := r.find(key, now)
	return found
}

func (r *recent[K, V]) find(key K, now time.Time) (value V, found bool) {
	element := r.items[key]
	if element == nil {
		return value, false
	}
	e := element.Value.(*entry[K, V])
	if r.age > 0 && now.Sub(e.at) > r.age {
		r.remove(element)
		return value, false
	}
	r.order.MoveToFront(element)
	return e.value, true
}

func (r *recent[K, V]) remove(element *list.Element) {
	delete(r.items, r.order.Remove(element).(*entry[K, V]).key)
}
