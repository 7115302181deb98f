vim9script

# `:Ingle health`: the way from Vim to the model, step by step, and what to do where it ends.
#
# Nothing waits: the report is written anew with each answer that comes.

import autoload './client.vim'
import autoload './config.vim'
import autoload './documents.vim'
import autoload './markdown.vim'
import autoload './notify.vim'
import autoload './process.vim'

# Milliseconds that a program, the server and the daemon get to answer.
const PATIENCE = 15000

# What is shown: section → lines. Each check writes its own.
var report: dict<list<string>> = {}
const SECTIONS: list<string> = ['Vim', 'This buffer', 'Program', 'Language server', 'Daemon', 'Messages']
# Goes up with each check: answers to an older one are not shown.
var check = 0
# The buffer that was looked at when the check was asked for.
var buffer = 0

export def Check()
  check += 1
  buffer = bufnr()
  report = {}
  CheckVim()
  CheckBuffer()
  var latest = notify.Recent() + process.Log()->mapnew((_, line) => $'ingle-lsp: {line}')
  report.Messages = empty(latest) ? ['none'] : latest
  if CheckProgram(check)
    CheckServer(check)
  endif
  Show()
enddef

def Ok(text: string): string
  return $'ok: {text}'
enddef

def Wrong(text: string, advice: string): string
  return $'WRONG: {text}: {advice}'
enddef

def Show()
  var lines = ['# ingle: health']
  for section in SECTIONS
    if has_key(report, section)
      lines += ['', $'## {section}', ''] + report[section]->mapnew((_, line) => $'- {line}')
    endif
  endfor
  markdown.Show('health', join(lines, "\n"))
enddef

# An answer to a check that is still the latest one.
def Write(number: number, section: string, lines: list<string>)
  if number == check
    report[section] = lines
    Show()
  endif
enddef

def CheckVim()
  var lines = [Ok(printf('Vim %d.%d.%d', v:version / 100, v:version % 100, v:versionlong % 10000))]
  if &encoding != 'utf-8'
    add(lines, Wrong($"'encoding' is {&encoding}", 'put `set encoding=utf-8` into your vimrc'))
  endif
  for problem in config.Problems()
    add(lines, $'WRONG: {problem}')
  endfor
  var given_up = config.KeyNames()->filter((_, name) => IsTaken(name))
  if !empty(given_up)
    add(lines, 'keys that you use otherwise, so ingle does not: '
      .. given_up->mapnew((_, name) => $'{config.Key(name)} ({name})')->join(', '))
  endif
  report.Vim = lines
enddef

def IsTaken(name: string): bool
  var key = config.Key(name)
  if key == '' || name == 'accept' || config.IsChosen(name)
    return false
  endif
  var mapping: dict<any> = maparg(key, 'i', false, true)
  return !empty(mapping) && mapping.rhs !~ 'ingle'
enddef

def CheckBuffer()
  var objection = documents.Objection(buffer)
  if objection == '' && (&readonly || !&modifiable)
    objection = 'this buffer is read-only'
  endif
  report['This buffer'] = [
    objection != '' ? $'no suggestions here: {objection}'
    : !get(b:, 'ingle_enabled', true) ? 'no suggestions here: b:ingle_enabled is off'
    : !config.Option('automatic') ? 'suggestions come by a key: g:ingle.automatic is off'
    : Ok('suggestions can be shown')]
enddef

# Look for the program, and ask for its version.
def CheckProgram(number: number): bool
  var command: list<string> = config.Option('cmd')
  if !executable(command[0])
    report.Program = [Wrong($'{command[0]} was not found',
      '`pip install ingle`, or let g:ingle.cmd say where it is')]
    return false
  endif
  report.Program = ['asking for its version …']
  var said: list<string> = []
  var program = job_start(command + ['--version'], {
    in_io: 'null',
    out_cb: (_, line) => add(said, line),
    err_cb: (_, line) => add(said, line),
    close_cb: (_) => 0,
    exit_cb: (_, status) => {
      timer_start(0, (_) => Write(number, 'Program', [status == 0
        ? Ok($'{exepath(command[0])}: {join(said, " ")}')
        : Wrong($'{command[0]} --version failed', join(said, ' '))]))
    },
  })
  timer_start(PATIENCE, (_) => {
    if job_status(program) == 'run'
      job_stop(program, 'kill')
    endif
  })
  return true
enddef

def CheckServer(number: number)
  var problem = client.Start()
  if problem != ''
    report['Language server'] = [Wrong(problem, '`:Ingle restart` tries again')]
    return
  endif
  report['Language server'] = ['starting …']
  timer_start(PATIENCE, (_) => {
    if number == check && report['Language server'] == ['starting …']
      Write(number, 'Language server', [Wrong('it does not answer', 'see the messages below')])
    endif
  })
  client.WhenReady(() => {
    var theirs = client.ServerProtocol()
    var ours = client.PROTOCOL
    Write(number, 'Language server', [theirs == 0
      ? Wrong($'{client.ServerName()} is too old for chat, changes and status', 'pip install -U ingle')
      : theirs < ours
      ? Wrong($'{client.ServerName()} speaks version {theirs} of the messages, this plugin {ours}',
          'pip install -U ingle')
      : Ok($'{client.ServerName()} runs, and speaks version {theirs} of the messages')])
    if theirs > 0
      client.Command('ingle.status', null, (error, status) =>
        Write(number, 'Daemon', error != '' ? [Wrong(error, 'pip install -U ingle')] : OfStatus(status)))
    endif
  })
enddef

def OfStatus(status: dict<any>): list<string>
  var text = status.text .. (get(status, 'detail', '') == '' ? '' : ': ' .. status.detail)
  var lines: list<string> = []
  if status.state == 'down'
    lines = [Wrong(text, 'start it with `:Ingle start`')]
  elseif status.state == 'incompatible'
    lines = [$'WRONG: {text}']
  elseif status.state == 'failed'
    lines = [Wrong(text, '`ingle doctor` says more')]
  elseif status.state == 'idle'
    lines = [Ok('it runs'), $'{text}; the next request loads one, `:Ingle models` chooses']
  else
    var device = get(status, 'device', '')
    lines = [Ok('it runs'), Ok(text .. (device == '' ? '' : ' on ' .. device))]
  endif
  if !status.enabled
    add(lines, 'suggestions are off or paused: `:Ingle resume`')
  endif
  return lines
enddef
