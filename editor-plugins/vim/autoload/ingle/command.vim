vim9script

# `:Ingle SUBCOMMAND`: the table of subcommands, and their completion.

import autoload './actions.vim'
import autoload './chat.vim'
import autoload './client.vim'
import autoload './config.vim'
import autoload './context.vim'
import autoload './control.vim'
import autoload './events.vim'
import autoload './health.vim'
import autoload './notify.vim'
import autoload './suggest.vim'

# Run `:Ingle …`.
export def Run(arguments: string, ranges: number, first: number, last: number, bang: bool)
  events.Start()
  var [_, name, rest; _] = matchlist(arguments, '^\s*\(\S*\)\s*\(.\{-}\)\s*$')
  if name == ''
    control.Menu()
  elseif !has_key(SUBCOMMANDS, name)
    notify.Warn($'there is no `:Ingle {name}`: see `:help :Ingle`')
  else
    SUBCOMMANDS[name]({range: ranges, first: first, last: last, bang: bang}, rest)
  endif
enddef

# Completion of the command line.
export def Complete(lead: string, line: string, _: number): list<string>
  var name = matchstr(line, 'Ingle!\=\s\+\zs\S\+\ze\s')
  var words = name == '' ? keys(SUBCOMMANDS)->sort()
    : has_key(COMPLETIONS, name) ? COMPLETIONS[name]() : []
  return copy(words)->filter((_, word) => strpart(word, 0, strlen(lead)) ==# lead)
enddef

def Chat(given: dict<any>, question: string)
  if given.range > 0 && !context.Add(bufnr(), given.first, given.last)
    return
  endif
  chat.Open()
  if question != ''
    chat.Ask(question)
  endif
enddef

def Context(given: dict<any>, rest: string)
  if rest == 'clear'
    context.Clear()
  elseif rest != ''
    notify.Warn('`:Ingle context` adds the file or the selection, `:Ingle context clear` takes all away')
  elseif given.range > 0 ? context.Add(bufnr(), given.first, given.last) : context.Add(bufnr(), 0, 0)
    notify.Info('goes with the next question')
  endif
enddef

def Effort(rest: string)
  if rest != '' && index(control.EFFORTS, rest) < 0
    notify.Warn('effort is low, medium or high')
  else
    control.Effort(rest)
  endif
enddef

def Pause(rest: string)
  if rest !~ '^\%(\d\+\%(\.\d*\)\=\)\=$' || (rest != '' && str2float(rest) == 0)
    notify.Warn('how many minutes? like `:Ingle pause 30`')
  else
    control.Pause(rest == '' ? 0.0 : str2float(rest))
  endif
enddef

# Name → function of what Vim gives a command (`range`, `first`, `last`, `bang`) and the words after
# the subcommand.
const SUBCOMMANDS: dict<func> = {
  accept: (_, _) => suggest.Accept('all'),
  actions: (given, _) => actions.Choose(given),
  analysis: (_, _) => chat.ToggleAnalysis(),
  cancel: (_, _) => control.Cancel(),
  chat: Chat,
  commit: (_, _) => actions.Commit(),
  context: Context,
  delete: (given, _) => chat.Delete(given.bang),
  document: (given, _) => actions.Document(given),
  effort: (_, rest) => Effort(rest),
  explain: (given, _) => actions.Explain(given),
  fix: (given, rest) => actions.Fix(given, rest),
  health: (_, _) => health.Check(),
  load: (_, rest) => rest == '' ? control.Models() : control.Load(rest),
  menu: (_, _) => control.Menu(),
  models: (_, _) => control.Models(),
  new: (_, _) => chat.New(),
  pause: (_, rest) => Pause(rest),
  refactor: (given, rest) => actions.Refactor(given, rest),
  restart: (_, _) => client.Restart(),
  resume: (_, _) => control.Resume(),
  start: (_, _) => control.Start(),
  status: (_, _) => control.Status(),
  suggest: (_, _) => suggest.Suggest(),
  tests: (given, _) => actions.Tests(given),
  threads: (_, rest) => rest == '' ? chat.ChooseThread() : chat.OpenThread(rest),
  unload: (_, rest) => control.Unload(rest),
}

# Subcommand → function that gives the words that can follow it.
const COMPLETIONS: dict<func> = {
  context: () => ['clear'],
  effort: () => control.EFFORTS,
  load: () => control.ModelNames(),
  unload: () => control.ModelNames(),
  threads: () => chat.ThreadNames(),
}
