vim9script

# Suggestions: when they are asked for, and what accepting, dismissing and cycling do.
#
# Owns the request that is on its way; at most one. What is shown is `ghost`.

import autoload './client.vim'
import autoload './config.vim'
import autoload './documents.vim'
import autoload './ghost.vim'
import autoload './notify.vim'
import autoload './positions.vim'

# Kinds of triggers, as LSP has them.
const INVOKED = 1
const AUTOMATIC = 2

# The request: `handle`, and the `buffer`, `tick`, `lnum` and `column` that it is for.
var pending: dict<number> = {}
# b:changedtick of the last text that was looked at, and its buffer.
var seen = [0, 0]

def Here(): dict<number>
  return {buffer: bufnr(), tick: b:changedtick, lnum: line('.'), column: col('.') - 1}
enddef

# Whether the request on its way is for what stands there now.
def IsCurrent(): bool
  return !empty(pending) && Here() == pending->copy()->filter((name, _) => name != 'handle')
enddef

def IsInserting(): bool
  return mode() ==# 'i'
enddef

# Why there may be no ghost text in the current buffer; empty if there may.
def Objection(): string
  if &readonly || !&modifiable
    return 'this buffer is read-only'
  endif
  return documents.IsAttached(bufnr()) ? '' : documents.Objection(bufnr())
enddef

# Whether this is the moment for it.
def IsWanted(): bool
  return IsInserting()
    && documents.IsAttached(bufnr())
    && &modifiable && !&readonly && !&paste
    && get(b:, 'ingle_enabled', true)
    && !pumvisible()
    && reg_executing() == ''
enddef

def Cancel()
  if !empty(pending)
    client.Cancel(pending.handle)
    pending = {}
  endif
enddef

# Take everything away.
export def Forget()
  Cancel()
  ghost.Hide()
enddef

# The texts of an answer that can be inserted at the cursor.
def UsableTexts(result: any): list<string>
  var items: any = type(result) == v:t_dict ? get(result, 'items', []) : result
  if type(items) != v:t_list
    return []
  endif
  var texts: list<string> = []
  for item in items
    var rest = ''
    try
      rest = AtCursor(item.insertText, get(item, 'range', null))
    catch /^Vim\%((\a\+)\)\=:E/
      # It makes no sense; the others may.
    endtry
    if rest != '' && index(texts, rest) < 0
      add(texts, rest)
    endif
  endfor
  return texts
enddef

# What of a text comes at the cursor. What stands before it must be how the text begins; what stands
# after it, stays.
def AtCursor(text: string, range: any): string
  if type(range) != v:t_dict
    return text
  endif
  var line = getline('.')
  var column = col('.') - 1
  var row = line('.') - 1
  if range.start.line != row || range.end.line != row
      || positions.Column(line, range.end.character) != column
    return ''
  endif
  var start = positions.Column(line, range.start.character)
  if start < 0 || start > column
    return ''
  endif
  var given = strpart(line, start, column - start)
  return strpart(text, 0, strlen(given)) ==# given ? strpart(text, strlen(given)) : ''
enddef

# Ask for the text at the cursor; `Receive` gets the texts if they still count.
def Ask(kind: number, Receive: func)
  Cancel()
  var buffer = bufnr()
  var mine = Here()
  def Params(): dict<any>
    documents.Sync(buffer)
    return {
      textDocument: {uri: positions.Uri(buffer)},
      position: positions.Position(buffer, mine.lnum, mine.column),
      context: {triggerKind: kind},
    }
  enddef
  mine.handle = client.Request('textDocument/inlineCompletion', Params, (error, result) => {
    if empty(pending) || pending.handle != mine.handle
      return
    endif
    var counts = IsCurrent() && IsWanted()
    pending = {}
    if !counts
      return
    elseif error != ''
      if kind == INVOKED
        notify.Warn(error)
      endif
      return
    endif
    Receive(UsableTexts(result))
  })
  pending = mine
enddef

# --- what happens in the editor --------------------------------------------------------------------

def IsSeen(): bool
  return seen == [bufnr(), b:changedtick]
enddef

# The text has changed outside of Insert mode, or is another buffer's.
export def LookedAt()
  seen = [bufnr(), b:changedtick]
enddef

# The text has changed in Insert mode.
export def TextChanged()
  if IsSeen()
    return
  endif
  LookedAt()
  if client.IsAtWork()
    documents.Sync(bufnr())
  endif
  if ghost.IsThere() && IsWanted() && ghost.Refresh()
    return
  endif
  ghost.Hide()
  if IsCurrent()
    # By a key that came before Vim said that the text had changed.
    return
  elseif !config.Option('automatic') || !IsWanted()
    Cancel()
    return
  endif
  Ask(AUTOMATIC, (texts) => {
    if !empty(texts)
      ghost.Show(texts, false)
    endif
  })
enddef

# The cursor has moved in Insert mode.
export def CursorMoved()
  if !IsSeen()
    # `o` and the like change the text before Insert mode begins.
    TextChanged()
    return
  endif
  if ghost.IsThere() && !ghost.Refresh()
    ghost.Hide()
  endif
  if !IsCurrent()
    Cancel()
  endif
enddef

# The mode has changed. CTRL-C and CTRL-O leave Insert mode without a word.
export def ModeChanged()
  if !IsInserting() && (ghost.IsThere() || !empty(pending))
    Forget()
  endif
enddef

# --- what users do ---------------------------------------------------------------------------------

# The part of a text that is a word with what is before it, or the rest of a line.
def PartOf(text: string, part: string): string
  if part == 'word'
    var word = matchstr(text, '^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)')
    return word == '' ? text : word
  elseif part == 'line'
    return matchstr(text, '^\n*[^\n]*')
  endif
  return text
enddef

# Insert the ghost text, or the 'word' or 'line' that is next. Returns whether there was any.
export def Accept(part: string): bool
  var rest = ghost.Rest()
  if rest == '' || !IsWanted()
    return false
  endif
  var lines = split(PartOf(rest, part), "\n", true)
  var line = getline('.')
  var lnum = line('.')
  var column = col('.') - 1
  var after = strpart(line, column)
  lines[0] = strpart(line, 0, column) .. lines[0]
  var end = strlen(lines[-1])
  lines[-1] ..= after
  # One `u` takes back what was accepted, and not what was typed before or comes after.
  &g:undolevels = &g:undolevels
  setline(lnum, lines[0])
  append(lnum, lines[1 :])
  cursor(lnum + len(lines) - 1, end + 1)
  feedkeys("\<C-g>u", 'in')
  return true
enddef

# Take the ghost text away until the next edit. Returns whether there was any.
export def Dismiss(): bool
  var was_there = ghost.Rest() != ''
  Forget()
  return was_there
enddef

# Ask for suggestions at the cursor, also several.
export def Suggest()
  var objection = Objection()
  if objection == ''
    objection = documents.Attach(bufnr())
  endif
  if objection != ''
    notify.Warn($'no suggestions here: {objection}')
  elseif client.IsReady() && IsWanted()
    Ask(INVOKED, (texts) => {
      if empty(texts)
        ghost.Hide()
        notify.Info('no suggestion here')
      else
        ghost.Show(texts, false)
      endif
    })
  elseif !client.IsReady()
    notify.Info('the language server is starting')
  endif
enddef

# Show another candidate. The server has said only what came first until it is asked again. Returns
# whether there was any.
export def Cycle(step: number): bool
  var current = ghost.Rest()
  if current == ''
    return false
  elseif ghost.IsKnown(step)
    ghost.Cycle(step)
    return true
  endif
  Ask(INVOKED, (texts) => {
    var all = index(texts, current) < 0 ? [current] + texts : texts
    ghost.Show(all, true, (index(all, current) + step) % len(all))
    if len(all) == 1
      notify.Info('no other suggestion here')
    endif
  })
  return true
enddef
