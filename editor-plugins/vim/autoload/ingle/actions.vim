vim9script

# Explain, fix, write tests, document, refactor, and commit messages: asks the server, which does
# the rest. Its edits come by `workspace/applyEdit`, or are fetched for a chosen code action.

import autoload './client.vim'
import autoload './documents.vim'
import autoload './edits.vim'
import autoload './markdown.vim'
import autoload './menu.vim'
import autoload './notify.vim'
import autoload './positions.vim'
import autoload './tasks.vim'

# Kinds of entries in quickfix lists → severities of diagnostics.
const SEVERITIES: dict<number> = {E: 1, W: 2, I: 3, N: 4}

# The place that an action is for: `buffer`, `first` and `last` line, `Range`, a function that gives
# it in the encoding that is known then. Empty, and a message, where there can be none.
def Target(given: dict<any>, is_change: bool): dict<any>
  var buffer = bufnr()
  var objection = is_change && (&readonly || !&modifiable) ? 'this buffer is read-only' : ''
  if objection == ''
    objection = documents.Attach(buffer)
  endif
  if objection != ''
    notify.Warn(objection)
    return {}
  endif
  var [lnum, column] = [line('.'), col('.') - 1]
  if given.range == 0
    # Empty: the server takes the function, class or paragraph around it.
    return {buffer: buffer, first: lnum, last: lnum, uri: positions.Uri(buffer),
      Range: () => positions.At(buffer, lnum, column)}
  endif
  return {buffer: buffer, first: given.first, last: given.last, uri: positions.Uri(buffer),
    Range: () => positions.OfCommand(buffer, given.first, given.last)}
enddef

export def Explain(given: dict<any>)
  var target = Target(given, false)
  if !empty(target)
    # The explanation itself comes with `ingle/showMarkdown`.
    tasks.Run('explaining', 'ingle.explain',
      () => ({uri: target.uri, range: call(target.Range, [])}), (_) => 0)
  endif
enddef

# Ask for an edit. `More` gives what else the request has.
def Edit(target: dict<any>, what: string, action: string, More: func = () => ({}))
  def Argument(): dict<any>
    return extend({
      action: action,
      uri: target.uri,
      version: documents.Version(target.buffer),
      range: call(target.Range, []),
    }, More())
  enddef
  tasks.Run(what, 'ingle.edit', Argument, (result) => {
    if type(result) != v:t_dict || !get(result, 'applied', false)
      var reason: any = type(result) == v:t_dict ? get(result, 'message', '') : ''
      notify.Warn(reason == '' ? 'nothing was changed' : reason)
    endif
  })
enddef

export def Tests(given: dict<any>)
  var target = Target(given, true)
  if !empty(target)
    Edit(target, 'writing tests', 'tests')
  endif
enddef

export def Document(given: dict<any>)
  var target = Target(given, true)
  if !empty(target)
    Edit(target, 'documenting', 'document')
  endif
enddef

# Refactor by an instruction, which is asked for if it is empty.
export def Refactor(given: dict<any>, instruction: string)
  var target = Target(given, true)
  if empty(target)
    return
  endif
  var text = trim(instruction != '' ? instruction : input('Refactor: '))
  if text != ''
    Edit(target, 'refactoring', 'refactor', () => ({instruction: text}))
  endif
enddef

# Fix what the message says, or else what the location list and the quickfix list have there.
export def Fix(given: dict<any>, message: string)
  var target = Target(given, true)
  if empty(target)
    return
  endif
  var problems = message == '' ? Problems(target)
    : [{lnum: target.first, col: 0, end_lnum: 0, end_col: 0, text: message, type: 'E'}]
  if empty(problems)
    notify.Info('there is nothing to fix here: the location list and the quickfix list have no '
      .. 'entry for it; `:Ingle fix WHAT` says it')
  else
    Edit(target, 'fixing', 'fix', () => ({diagnostics: Diagnostics(target.buffer, problems)}))
  endif
enddef

# Entries of the location list, or else of the quickfix list, that are about lines.
def Problems(target: dict<any>): list<dict<any>>
  for entries in [getloclist(0), getqflist()]
    var found = entries->filter((_, entry) => entry.valid && entry.bufnr == target.buffer
      && entry.lnum <= target.last && max([entry.lnum, entry.end_lnum]) >= target.first)
    if !empty(found)
      return found
    endif
  endfor
  return []
enddef

# Such entries as LSP has them.
def Diagnostics(buffer: number, problems: list<dict<any>>): list<dict<any>>
  return mapnew(problems, (_, problem) => Diagnostic(buffer, problem))
enddef

def Diagnostic(buffer: number, problem: dict<any>): dict<any>
  # Columns are bytes from 1, 0 is the whole line; the end is the first that is not meant.
  var line = positions.Line(buffer, problem.lnum)
  var column = min([max([problem.col - 1, 0]), strlen(line)])
  var end_lnum = max([problem.end_lnum, problem.lnum])
  var end_line = positions.Line(buffer, end_lnum)
  var end_column = strlen(end_line)
  if problem.end_col > 0
    end_column = min([problem.end_col - 1, end_column])
  elseif problem.col > 0
    end_lnum = problem.lnum
    end_column = column
  endif
  return {
    range: {
      start: positions.Position(buffer, problem.lnum, column),
      end: positions.Position(buffer, end_lnum, end_column),
    },
    message: trim(problem.text),
    severity: get(SEVERITIES, toupper(problem.type), 1),
  }
enddef

# Everything that the server offers here, to choose from.
export def Choose(given: dict<any>)
  var target = Target(given, false)
  if empty(target)
    return
  endif
  def Params(): dict<any>
    documents.Sync(target.buffer)
    return {
      textDocument: {uri: target.uri},
      range: call(target.Range, []),
      context: {diagnostics: Diagnostics(target.buffer, Problems(target)), triggerKind: 1},
    }
  enddef
  client.Request('textDocument/codeAction', Params, (error, actions) => {
    if error != ''
      notify.Warn(error)
    elseif type(actions) != v:t_list || empty(actions)
      notify.Info('there is nothing to do here')
    else
      menu.Choose('ingle', actions, (action) => Title(action), (action) => Take(target, action))
    endif
  })
enddef

def Title(action: dict<any>): string
  return has_key(action, 'disabled') ? $'{action.title} ({action.disabled.reason})' : action.title
enddef

def Take(target: dict<any>, action: dict<any>)
  if has_key(action, 'disabled')
    notify.Warn(action.disabled.reason)
  elseif has_key(action, 'command')
    tasks.Run(tolower(action.title), action.command.command,
      get(get(action.command, 'arguments', []), 0, null), (_) => 0)
  elseif &readonly || !&modifiable
    notify.Warn('this buffer is read-only')
  else
    tasks.Ask(tolower(action.title), 'codeAction/resolve', action, (resolved) => {
      var reason = edits.Apply(get(resolved, 'edit', {}))
      if reason != ''
        notify.Warn(reason)
      endif
    })
  endif
enddef

# Write a commit message into the buffer of one, else into a window to read.
export def Commit()
  var buffer = bufnr()
  # Git starts its editor in the working tree; the message's own file is not in it.
  var is_elsewhere = bufname() == '' || &buftype != '' || &filetype == 'gitcommit'
  var uri = is_elsewhere ? positions.UriOfPath(getcwd()) : positions.Uri(buffer)
  var lnum = line('.')
  tasks.Run('writing a commit message', 'ingle.commitMessage', {uri: uri}, (result) => {
    var lines = split(trim(result.message), "\n", true)
    if !bufloaded(buffer) || getbufvar(buffer, '&filetype') != 'gitcommit'
        || !getbufvar(buffer, '&modifiable')
      markdown.Show('Commit message', result.message)
      return
    endif
    if positions.Line(buffer, lnum) == ''
      setbufline(buffer, lnum, remove(lines, 0))
      appendbufline(buffer, lnum, lines)
    else
      appendbufline(buffer, lnum - 1, lines)
    endif
    notify.Info('done: `u` takes it back')
  })
enddef
