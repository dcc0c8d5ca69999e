package operator

import "conclave/models"

type (
	users struct{}
	named struct {
		Name string `arg:"" help:"The user name."`
	}
	promote struct{ named }
	demote  struct{ named }
	disable struct{ named }
	enable  struct{ named }
	reset   struct{ named }
)

func (users) Run(o models.Options) error { return ask(o, models.CommandUsers, "") }

func (p promote) Run(o models.Options) error { return ask(o, models.CommandPromote, p.Name) }

func (d demote) Run(o models.Options) error { return ask(o, models.CommandDemote, d.Name) }

func (d disable) Run(o models.Options) error { return ask(o, models.CommandDisable, d.Name) }

func (e enable) Run(o models.Options) error { return ask(o, models.CommandEnable, e.Name) }

func (r reset) Run(o models.Options) error { return ask(o, models.CommandReset, r.Name) }
