// Conclave is a self-hosted, secure room chat: one program, one command, HTTPS from the first second.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"conclave/certs"
	"conclave/handlers"
	"conclave/models"
	"conclave/models/demo"
	"conclave/models/feed"
	"conclave/models/operator"
)

// options are the flags; each can also be given as CONCLAVE_<NAME> in the environment.
type options struct {
	Addr            string        `default:":8443" help:"Address to listen on; port 0 picks a free one."`
	Data            string        `help:"Folder of the database and the key file: ./data, or for demo one that is removed at its end." placeholder:"DIR"`
	Certs           string        `default:"./certs" help:"Folder of cert.pem and key.pem." placeholder:"DIR"`
	Host            []string      `help:"Another name or address of this server, for its certificate; repeatable." placeholder:"NAME"`
	Registration    string        `default:"open" enum:"open,invite,closed" help:"Who may register: open, invite or closed."`
	LimitScale      int           `default:"1" help:"Multiplies every limit, for load tests and large installations." placeholder:"N"`
	SessionIdle     time.Duration `default:"24h" help:"A session ends this long after its last use."`
	SessionLifetime time.Duration `default:"336h" help:"And this long after the login in any case."`
	Log             string        `default:"text" enum:"text,json" help:"Format of the log: text or json."`
}

// commands is the whole command line.
type commands struct {
	options
	Serve    serveCommand `cmd:"" default:"withargs" help:"Run the server (the default)."`
	Demo     demoCommand  `cmd:"" help:"Run the server with an example in it: a week in the rooms of a small co-op, all invented."`
	CertsCmd struct {
		Show  showCommand  `cmd:"" help:"Show the certificate and its fingerprints."`
		Renew renewCommand `cmd:"" help:"Make a new certificate now."`
	} `cmd:"" name:"certs" help:"Look at the server's certificate or renew it."`
	operator.Commands
	Version versionCommand `cmd:"" help:"Print the version."`
}

type (
	serveCommand struct {
		AcceptRollback bool `help:"Once, after an older backup was restored on purpose: let history go on from there."`
	}
	demoCommand  struct{}
	showCommand  struct{}
	renewCommand struct {
		NewKey bool `help:"Make a new key as well; everybody has to check the fingerprint again."`
	}
	versionCommand struct{}
)

// Exit codes. What is none of the others is 2: something that whoever typed the command can put right.
const (
	exitDamage   = 1
	exitUsage    = 2
	exitKey      = 3
	exitModes    = 4
	exitRollback = 5
)

func main() {
	syscall.Umask(0o077) // nobody else on this machine reads what is made here
	time.Local = time.UTC
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "conclave: "+advice(err))
	switch {
	case errors.Is(err, models.ErrModes), errors.Is(err, certs.ErrModes):
		os.Exit(exitModes)
	case errors.Is(err, models.ErrKey):
		os.Exit(exitKey)
	case errors.Is(err, models.ErrRollback):
		os.Exit(exitRollback)
	case errors.Is(err, operator.ErrDamage):
		os.Exit(exitDamage)
	}
	os.Exit(exitUsage)
}

func run(args []string) error {
	var c commands
	parser, err := kong.New(&c, kong.Name("conclave"), kong.DefaultEnvars("CONCLAVE"), kong.UsageOnError(),
		kong.Description("Secure rooms you host yourself. Without a command it serves https://localhost:8443."))
	if err != nil {
		return err
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("%w (try --help)", err)
	}
	if c.LimitScale < 1 || c.SessionIdle <= 0 || c.SessionLifetime <= 0 {
		return errors.New("--limit-scale, --session-idle and --session-lifetime must be above zero")
	}
	if c.Data == "" && chosen.Command() != "demo" {
		c.Data = "./data"
	}
	return chosen.Run(c.options, forCommands(c.options))
}

// advice turns the one error that comes from the way the program was built into a sentence.
func advice(err error) string {
	if strings.Contains(err.Error(), "requires cgo") {
		return "this program was built without a C compiler, which its database needs. Install one (Debian, Ubuntu: apt install gcc libc6-dev; Fedora: dnf install gcc; macOS: xcode-select --install), make sure that CGO_ENABLED is not 0, and start again."
	}
	return err.Error()
}

func (s serveCommand) Run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listen := func() (net.Listener, error) { return net.Listen("tcp", o.Addr) }
	return serve(ctx, o, s.AcceptRollback, listen, func(_ *models.Store, urls []string, cert certs.Info, token string) {
		greet(os.Stdout, o, urls, cert, token)
	})
}

// serve runs the server until ctx ends. greet is called when it is ready; token is that of the set-up
// link, empty when there is none.
func serve(ctx context.Context, o options, acceptRollback bool, listen func() (net.Listener, error),
	greet func(store *models.Store, urls []string, cert certs.Info, token string)) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // people who only listen cost memory, not time: a fifth less of it
	}
	logger := newLogger(o.Log, os.Stderr)
	keeper, err := certs.Ensure(certs.Options{Dir: o.Certs, Hosts: o.Host, Log: logger})
	if err != nil {
		return err
	}
	hub := feed.New(feed.Options{Limits: scaled(feed.DefaultLimits, o.LimitScale)})
	store, err := models.Open(models.Options{
		Dir: o.Data, Hub: hub, Log: logger, LimitScale: o.LimitScale, SessionIdle: o.SessionIdle,
		SessionLifetime: o.SessionLifetime, AppHost: keeper.Info().Names[0], AcceptRollback: acceptRollback,
		Credentials: os.Getenv("CREDENTIALS_DIRECTORY"),
	})
	if err != nil {
		return err
	}
	listener, err := listen()
	if err != nil {
		return errors.Join(listenError(o.Addr, err), store.Close())
	}
	note := func(c certs.Info) { store.NoteCertificate(context.Background(), c.CertSHA256, c.SPKISHA256, c.Own) }
	go keeper.Watch(ctx, note)

	server := handlers.NewServer(handlers.Options{
		Store: store, Hub: hub, Log: logger, Serves: keeper.Serves, Registration: o.Registration,
		SessionLifetime: o.SessionLifetime, LimitScale: o.LimitScale, Version: version(),
		Certificate: func() handlers.Certificate {
			c := keeper.Info()
			return handlers.Certificate{Fingerprint: c.CertSHA256, KeyFingerprint: c.SPKISHA256, Until: c.NotAfter, Names: c.Names, Own: c.Own}
		},
	})
	server.TLSConfig = keeper.Config()
	server.ErrorLog = log.New(io.Discard, "", 0) // browsers that do not know the certificate yet hang up; no news
	store.Serving(version(), configuration(o, listener.Addr()))
	note(keeper.Info())
	failed := make(chan error, 1)
	go func() { failed <- server.ServeTLS(listener, "", "") }()
	urls := addresses(o, listener.Addr(), keeper.Info().Names)
	store.ServedAt(linked(o, urls))
	token := ""
	if o.Registration != "closed" {
		token, err = store.SetupToken(ctx)
	}
	if err == nil {
		greet(store, urls, keeper.Info(), token)
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
	}
	return errors.Join(err, shutDown(server, store, logger))
}

// zone is that of whoever starts this; the server itself counts in UTC.
var zone = time.Local

// Run serves an example until it is stopped. The folder of a demo is always a fresh one, and what lets
// its people in is random each time, so that a folder that was kept is as safe as any.
func (demoCommand) Run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGTTIN) // the console reads lines; in the background there are none, and nothing stops for that
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return listenError(o.Addr, err)
	}
	defer listener.Close()
	temporary := o.Data == ""
	if temporary {
		folder, err := demo.TemporaryFolder()
		if err != nil {
			return fmt.Errorf("no temporary folder can be made (%w): name a folder with --data", err)
		}
		defer folder.Remove()
		o.Data = folder.Data
	} else if err := empty(o.Data); err != nil {
		return err
	} else if o.Data, err = filepath.Abs(o.Data); err != nil {
		return err
	}
	fmt.Println("\nA small co-op is moving in. This takes a few seconds.")
	people, err := demo.Seed(ctx, forCommands(o), time.Now().In(zone))
	switch {
	case ctx.Err() != nil && !temporary:
		return fmt.Errorf("the demo was interrupted: what is in %s is half of it and can be deleted", o.Data)
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	listen := func() (net.Listener, error) { return listener, nil }
	return serve(ctx, o, false, listen, func(store *models.Store, urls []string, cert certs.Info, _ string) {
		console := demo.Console{Out: os.Stdout, People: people[:2], Zone: zone, Inside: func(p demo.Person) bool {
			user, err := store.User(ctx, p.ID)
			return err != nil || !user.LoginAt.IsZero()
		}}
		console.Greet(demo.Place{URLs: urls, Fingerprint: cert.CertSHA256, Data: o.Data, Temporary: temporary})
		go console.TellCodes(ctx, os.Stdin)
	})
}

// empty refuses a folder in which there is anything.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the folder of the demo cannot be read (%w): choose another with --data", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("the folder %s is in use or not empty, and a demo touches nothing that is there: choose a new one with --data, or leave that out. A demo that was kept is started with: serve --data %[1]s", dir)
	}
	return nil
}

// configuration is what the audit log keeps of the flags. None of them is a secret.
func configuration(o options, listening net.Addr) string {
	return fmt.Sprintf("addr %s, hosts %s, registration %s, limit-scale %d, session-idle %s, session-lifetime %s",
		listening, cmp.Or(strings.Join(o.Host, " "), "none"), o.Registration, o.LimitScale, o.SessionIdle, o.SessionLifetime)
}

// shutDown ends the streams, lets requests finish for most of a second, and closes the database
// once everything that was accepted is in it.
func shutDown(server *http.Server, store *models.Store, logger *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		server.Close()
	}
	logger.Info("stopped")
	return store.Close()
}

func scaled(l feed.Limits, scale int) feed.Limits {
	l.PerSession, l.PerUser, l.PerAddress, l.Total = l.PerSession*scale, l.PerUser*scale, l.PerAddress*scale, l.Total*scale
	return l
}

func newLogger(format string, w io.Writer) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

func listenError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("the address %s is already in use: stop the program that uses it, or choose another with --addr", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("this user may not listen on %s: choose a port above 1023 with --addr", address)
	}
	return fmt.Errorf("cannot listen on %s (%w): choose another address with --addr", address, err)
}

// greet tells whoever started the server where it is and how to recognise it.
func greet(w io.Writer, o options, urls []string, cert certs.Info, token string) {
	data, err := filepath.Abs(o.Data)
	if err != nil {
		data = o.Data
	}
	fmt.Fprintf(w, "\nConclave is ready at %s\n\n", urls[0])
	for _, url := range urls[1:] {
		fmt.Fprintf(w, "  also at       %s\n", url)
	}
	show(w, cert)
	fmt.Fprintf(w, "  data          %s\n", data)
	if o.LimitScale != 1 {
		fmt.Fprintf(w, "  limits        multiplied by %d\n", o.LimitScale)
	}
	if token != "" {
		fmt.Fprintf(w, "  set-up link   %s/register#setup=%s\n                whoever registers through it becomes the administrator; once, within 24 hours\n", urls[0], token)
	}
	fmt.Fprintf(w, "\nBrowsers ask about the certificate on the first visit: compare the fingerprint. Ctrl+C stops the server.\n\n")
}

// addresses lists where the server can be reached: itself first, then what a phone on the same network can use.
func addresses(o options, listening net.Addr, names []string) []string {
	host, _, _ := net.SplitHostPort(o.Addr) // it was listened on, so it parses
	_, port, _ := net.SplitHostPort(listening.String())
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return []string{"https://" + net.JoinHostPort(host, port)}
	}
	urls := []string{"https://localhost:" + port}
	for _, name := range names {
		if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			urls = append(urls, "https://"+net.JoinHostPort(name, port))
		}
	}
	return urls
}

// linked is the address in links that the operator hands over: of a name that was given, if any was.
func linked(o options, urls []string) string {
	for _, url := range urls {
		if len(o.Host) > 0 && strings.HasPrefix(url, "https://"+net.JoinHostPort(o.Host[0], "")) {
			return url
		}
	}
	return urls[0]
}

func show(w io.Writer, cert certs.Info) {
	fmt.Fprintf(w, "  certificate   SHA-256 %s\n  public key    SHA-256 %s\n  valid until   %s\n  for           %s\n",
		cert.CertSHA256, cert.SPKISHA256, cert.NotAfter.Format("2 January 2006"), strings.Join(cert.Names, ", "))
}

func (showCommand) Run(o options) error {
	cert, err := certs.Show(o.Certs)
	if err == nil {
		show(os.Stdout, cert)
	}
	return err
}

func (r renewCommand) Run(o options) error {
	keeper, err := certs.Ensure(certs.Options{Dir: o.Certs, Hosts: o.Host})
	if err != nil {
		return err
	}
	if err := keeper.Renew(r.NewKey); err != nil {
		return err
	}
	show(os.Stdout, keeper.Info())
	return nil
}

// forCommands are the options of a store that a command opens: what it logs goes to the operator.
func forCommands(o options) models.Options {
	return models.Options{
		Dir: o.Data, Hub: feed.New(feed.Options{}), Log: slog.New(slog.DiscardHandler),
		SessionIdle: o.SessionIdle, SessionLifetime: o.SessionLifetime, Credentials: os.Getenv("CREDENTIALS_DIRECTORY"),
	}
}

func (versionCommand) Run() error {
	fmt.Println("conclave", version())
	return nil
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
