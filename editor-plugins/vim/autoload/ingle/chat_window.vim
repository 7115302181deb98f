vim9script

# The chat's two windows: what was said, to read, and below it the next question, to write.
#
# Owns the windows, their buffers and keys, and how a thread is drawn. What was said is drawn anew
# with each piece of an answer, but only lines that differ are set.

import autoload './chat.vim'
import autoload './context.vim'
import autoload './config.vim'
import autoload './notify.vim'

const CHAT = 'ingle://chat'
const QUESTION = 'ingle://question'
const QUESTION_HEIGHT = 4

const HINT: list<string> = [
  'Write a question below and press Enter; CTRL-J begins a new line.',
  '',
  'Here: `a` apply the block under the cursor, `x` stop the answer,',
  '`r` show or hide the reasoning, `n` new thread, `t` open a thread,',
  '`e` effort, `]]` `[[` next and previous turn, `i` write, `q` close.',
]

var chat_buffer = 0
var question_buffer = 0
# What is drawn, and at which line (from 1) each turn begins.
var drawn: list<string> = []
var starts: list<number> = []

def Window(buffer: number): number
  for window in buffer > 0 ? win_findbuf(buffer) : []
    if win_id2tabwin(window)[0] == tabpagenr()
      return window
    endif
  endfor
  return 0
enddef

# --- windows ---------------------------------------------------------------------------------------

# Show both windows in this tab page and go to the question.
export def Open()
  if Window(chat_buffer) == 0
    execute $'{config.Option("chat_window")} split'
    Enter(CHAT)
    if chat_buffer == 0 || !bufexists(chat_buffer)
      chat_buffer = bufnr()
      drawn = []
      SetUpChat()
    endif
    setlocal nonumber norelativenumber nolist nospell wrap linebreak foldcolumn=0 signcolumn=no
    setlocal statusline=%{ingle#chat_window#ChatLine()}
    Render()
  endif
  if Window(question_buffer) == 0
    win_gotoid(Window(chat_buffer))
    execute $'belowright :{QUESTION_HEIGHT}split'
    Enter(QUESTION)
    if question_buffer == 0 || !bufexists(question_buffer)
      question_buffer = bufnr()
      SetUpQuestion()
    endif
    setlocal nonumber norelativenumber nolist wrap linebreak foldcolumn=0 signcolumn=no winfixheight
    setlocal statusline=%{ingle#chat_window#QuestionLine()}
  endif
  win_gotoid(Window(question_buffer))
enddef

# Edit one of our buffers in the current window.
def Enter(name: string)
  execute $'silent keepalt edit {fnameescape(name)}'
  setlocal buftype=nofile bufhidden=hide noswapfile nobuflisted
enddef

def SetUpChat()
  setlocal nomodifiable filetype=ingle syntax=markdown
  var maps = {
    a: 'call ingle#chat_window#ApplyHere()',
    x: 'Ingle cancel',
    r: 'Ingle analysis',
    n: 'Ingle new',
    t: 'Ingle threads',
    e: 'Ingle effort',
    i: 'call ingle#chat_window#Write()',
    q: 'call ingle#chat_window#Close()',
    ']]': 'call ingle#chat_window#GoTo(1)',
    '[[': 'call ingle#chat_window#GoTo(-1)',
  }
  for [key, command] in items(maps)
    execute $'nnoremap <buffer> <nowait> <silent> {key} <Cmd>{command}<CR>'
  endfor
  autocmd BufEnter <buffer> Remember()
enddef

def SetUpQuestion()
  setlocal filetype=ingle syntax=markdown
  inoremap <buffer> <silent> <expr> <CR> pumvisible() ? '<C-y>' : '<Cmd>call ingle#chat_window#Send()<CR>'
  inoremap <buffer> <C-j> <CR>
  nnoremap <buffer> <silent> <CR> <Cmd>call ingle#chat_window#Send()<CR>
  nnoremap <buffer> <nowait> <silent> q <Cmd>call ingle#chat_window#Close()<CR>
  autocmd BufEnter <buffer> Remember()
enddef

# The file that the user comes from is what the chat is about.
def Remember()
  var before = winbufnr(winnr('#'))
  if before > 0
    chat.RememberSource(before)
  endif
enddef

# Go to the question, to write.
export def Write()
  Open()
  startinsert!
enddef

export def Close()
  for buffer in [question_buffer, chat_buffer]
    var window = Window(buffer)
    if window > 0 && winnr('$') > 1
      win_execute(window, 'close')
    endif
  endfor
enddef

# The status line of what was said.
export def ChatLine(): string
  var thread = chat.Thread()
  var title = thread.title == '' ? 'a new thread' : thread.title
  return $'ingle: {title}' .. (chat.IsAnswering() ? ' (answering; x stops it)' : '')
enddef

# The status line of the question.
export def QuestionLine(): string
  var parts = ['question: Enter sends it']
  if chat.Effort() != ''
    add(parts, $'effort {chat.Effort()}')
  endif
  var labels = context.Labels()
  if !empty(labels)
    add(parts, 'about ' .. join(labels, ', '))
  endif
  return join(parts, ' | ')
enddef

# --- the question ----------------------------------------------------------------------------------

# Ask what is written.
export def Send()
  if chat.Ask(join(getbufline(question_buffer, 1, '$'), "\n"))
    SetQuestion('')
  endif
enddef

# Put a question there, to be sent.
export def SetQuestion(text: string)
  if question_buffer > 0 && bufloaded(question_buffer)
    silent deletebufline(question_buffer, 1, '$')
    setbufline(question_buffer, 1, split(text, "\n", true))
    var window = Window(question_buffer)
    if window > 0
      win_execute(window, 'call cursor(line("$"), col("$"))')
    endif
  endif
enddef

# --- what was said ---------------------------------------------------------------------------------

def TurnLines(turn: dict<any>): list<string>
  var lines: list<string> = []
  if turn.role == 'user'
    lines = ['## You', ''] + split(turn.text, "\n", true)
    if !empty(turn.context)
      lines += ['', $'*about {join(mapnew(turn.context, (_, item) => context.LabelOf(item)), ", ")}*']
    endif
    return lines + ['']
  endif
  var model = get(turn, 'model', '')
  lines = [$'## {model == "" ? "ingle" : model}', '']
  var analysis = get(turn, 'analysis', '')
  if analysis != '' && chat.ShowsAnalysis()
    lines += split(trim(analysis), "\n", true)->map((_, line) => trim($'> {line}')) + ['']
  elseif analysis != '' && turn.text == ''
    lines += ['*thinking …*']
  endif
  if turn.text != ''
    lines += split(turn.text, "\n", true)
  endif
  return lines + Footer(turn) + ['']
enddef

def Footer(turn: dict<any>): list<string>
  if turn.finish == 'cancelled'
    return ['', '*stopped*']
  elseif turn.finish == 'error'
    return ['', '*broken off*']
  elseif turn.finish == 'length'
    return ['', '*cut off: it did not fit*']
  elseif get(turn, 'tokens', 0) > 0
    return ['', printf('*%d tokens, %.1f tokens/s*', turn.tokens, turn.speed)]
  endif
  return []
enddef

# Draw the thread.
export def Render()
  if chat_buffer == 0 || !bufloaded(chat_buffer)
    return
  endif
  var thread = chat.Thread()
  var lines: list<string> = []
  starts = []
  for turn in thread.turns
    add(starts, len(lines) + 1)
    lines += TurnLines(turn)
  endfor
  if empty(lines)
    lines = copy(HINT)
  endif
  var same = 0
  var most = min([len(lines), len(drawn)])
  while same < most && lines[same] ==# drawn[same]
    same += 1
  endwhile
  # Whoever reads something further up is left in peace.
  var window = Window(chat_buffer)
  var follows = window > 0 && (window != win_getid() || line('.', window) >= line('$', window))
  setbufvar(chat_buffer, '&modifiable', true)
  if len(drawn) > same
    silent deletebufline(chat_buffer, same + 1, '$')
  endif
  setbufline(chat_buffer, same + 1, lines[same :])
  setbufvar(chat_buffer, '&modifiable', false)
  drawn = lines
  if follows
    win_execute(window, $'call cursor({empty(thread.turns) ? 1 : len(lines)}, 1)')
  endif
  redrawstatus!
enddef

# Go to the next turn, or the one before.
export def GoTo(step: number)
  var here = line('.')
  var lines = step > 0 ? copy(starts)->filter((_, lnum) => lnum > here)
    : copy(starts)->filter((_, lnum) => lnum < here)->reverse()
  if !empty(lines)
    cursor(lines[0], 1)
  endif
enddef

# Apply the block under the cursor, or the only one of the answer.
export def ApplyHere()
  var number = len(copy(starts)->filter((_, lnum) => lnum <= line('.'))) - 1
  var turn = number < 0 ? {} : chat.Thread().turns[number]
  var blocks: list<dict<any>> = get(turn, 'blocks', [])
  if empty(blocks)
    notify.Info('there is no block of code here')
    return
  endif
  var begin = starts[number]
  var end = number + 1 < len(starts) ? starts[number + 1] - 1 : line('$')
  for block in blocks
    var lines = split(block.text, "\n", true)[: -2]
    var found = Find(lines, begin, end)
    if found > 0
      begin = found + len(lines)
      # The fences belong to it.
      if line('.') >= found - 1 && line('.') <= begin
        chat.Apply(turn, block)
        return
      endif
    endif
  endfor
  if len(blocks) == 1
    chat.Apply(turn, blocks[0])
  else
    notify.Info('put the cursor into a block of code')
  endif
enddef

# The line where a block's lines stand, between two lines; 0 if they don't. Blocks in lists are
# indented there.
def Find(lines: list<string>, begin: number, end: number): number
  var wanted = mapnew(lines, (_, line) => trim(line))
  for lnum in range(begin, end - len(lines) + 1)
    if getline(lnum, lnum + len(lines) - 1)->map((_, line) => trim(line)) == wanted
      return lnum
    endif
  endfor
  return 0
enddef
