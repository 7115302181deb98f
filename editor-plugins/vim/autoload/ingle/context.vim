vim9script

# What goes with the next question of the chat: files, or lines of them. Text properties follow the
# lines while the file is edited.

import autoload './chat.vim'
import autoload './documents.vim'
import autoload './notify.vim'
import autoload './positions.vim'

const MARK = 'ingle_context'

# `buffer`; for lines, `first` and `last`: numbers of the properties on them.
var parts: list<dict<any>> = []
var last_mark = 0

def Mark(buffer: number, lnum: number): number
  if empty(prop_type_get(MARK))
    prop_type_add(MARK, {})
  endif
  last_mark += 1
  prop_add(lnum, 1, {type: MARK, id: last_mark, bufnr: buffer, length: 0})
  return last_mark
enddef

# The line of a mark; 0 if it is gone with its line.
def LineOf(buffer: number, mark: number): number
  return prop_find({type: MARK, id: mark, both: true, bufnr: buffer, lnum: 1, col: 1}, 'f')
    ->get('lnum', 0)
enddef

# Add a buffer, or lines of it unless `first` is 0; returns whether that is possible.
export def Add(buffer: number, first: number, last: number): bool
  var objection = documents.Attach(buffer)
  if objection != ''
    notify.Warn(objection)
    return false
  endif
  chat.RememberSource(buffer)
  var part: dict<any> = {buffer: buffer}
  if first > 0
    part.first = Mark(buffer, first)
    part.last = Mark(buffer, last)
  endif
  add(parts, part)
  redrawstatus!
  return true
enddef

export def Clear()
  for part in parts
    if has_key(part, 'first') && bufloaded(part.buffer)
      for mark in [part.first, part.last]
        prop_remove({type: MARK, id: mark, both: true, bufnr: part.buffer})
      endfor
    endif
  endfor
  parts = []
  redrawstatus!
enddef

def Name(buffer: number): string
  return bufname(buffer) == '' ? '[No Name]' : fnamemodify(bufname(buffer), ':~:.')
enddef

# First and last line of a part; zeros for a whole buffer; an empty list if it is gone.
def Lines(part: dict<any>): list<number>
  if !bufloaded(part.buffer)
    return []
  elseif !has_key(part, 'first')
    return [0, 0]
  endif
  var lines = [LineOf(part.buffer, part.first), LineOf(part.buffer, part.last)]
  return lines[0] > 0 && lines[1] >= lines[0] ? lines : []
enddef

# Labels of what goes with the next question.
export def Labels(): list<string>
  var labels: list<string> = []
  for part in parts
    var lines = Lines(part)
    if !empty(lines)
      add(labels, Label(Name(part.buffer), lines[0], lines[1]))
    endif
  endfor
  return labels
enddef

# `a.py`, `a.py:3` or `a.py:3-9`.
def Label(name: string, first: number, last: number): string
  return first == 0 ? name : first == last ? $'{name}:{first}' : $'{name}:{first}-{last}'
enddef

# The label of what went with a question, as the server has it.
export def LabelOf(item: dict<any>): string
  var path = positions.Path(item.uri)
  var name = path == '' ? item.uri : fnamemodify(path, ':~:.')
  var range: any = get(item, 'range', null)
  if type(range) != v:t_dict
    return name
  endif
  var last: number = range.end.line + (range.end.character > 0 ? 1 : 0)
  return Label(name, range.start.line + 1, max([last, range.start.line + 1]))
enddef

# All of it as the server takes it; it is gone then.
export def Take(): list<dict<any>>
  var taken: list<dict<any>> = []
  for part in parts
    var lines = Lines(part)
    if empty(lines)
      notify.Info($'lines of {Name(part.buffer)} are gone, and not sent')
      continue
    endif
    documents.Sync(part.buffer)
    var item: dict<any> = {uri: positions.Uri(part.buffer)}
    if lines[0] > 0
      item.range = positions.Lines(lines[0], lines[1])
    endif
    add(taken, item)
  endfor
  Clear()
  return taken
enddef
