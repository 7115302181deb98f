vim9script

# The chat: the thread that is open, its turns, and the question that is being answered.
#
# Owns the state and the requests; `chat_window` shows it. Threads are kept by the server, so a turn
# here is what the server would give for it: `role`, `text`, `analysis`, `finish`, `blocks`.

import autoload './chat_window.vim'
import autoload './client.vim'
import autoload './config.vim'
import autoload './context.vim'
import autoload './documents.vim'
import autoload './menu.vim'
import autoload './notify.vim'
import autoload './positions.vim'

# The open thread: `id`, null until the server has named it; `title`; `turns`.
var thread: dict<any> = {id: null, title: '', turns: []}
# The question on its way: `handle`, `token`, and the `turn` that the answer goes into.
var pending: dict<any> = {}
# The file that was edited before the chat was looked at; 0 for none.
var source = 0
var asked = 0
# -1 until the user changed it.
var shows_analysis = -1
# Names of threads, as the server last gave them.
var thread_names: list<string> = []

# --- what the window shows -------------------------------------------------------------------------

export def Thread(): dict<any>
  return thread
enddef

export def IsAnswering(): bool
  return !empty(pending)
enddef

export def ShowsAnalysis(): bool
  return shows_analysis < 0 ? config.Option('show_analysis') : shows_analysis == 1
enddef

# How long the model is asked to think; empty where the daemon decides.
export def Effort(): string
  var effort: any = get(config.Option('settings'), 'effort', '')
  return type(effort) == v:t_string ? effort : ''
enddef

# Remember the file that a chat is about.
export def RememberSource(buffer: number)
  if bufloaded(buffer) && getbufvar(buffer, '&buftype') == ''
    source = buffer
  endif
enddef

# --- asking ----------------------------------------------------------------------------------------

# Show the chat and put the cursor where the next question goes.
export def Open()
  RememberSource(bufnr())
  chat_window.Open()
enddef

# Ask a question in the open thread; returns whether it was sent.
export def Ask(question: string): bool
  var text = trim(question)
  if text == ''
    notify.Info('there is no question yet')
    return false
  elseif !empty(pending)
    notify.Info('the answer before is not complete: `:Ingle cancel` stops it')
    return false
  endif
  asked += 1
  var token = $'vim-{getpid()}-chat-{asked}'
  var said: dict<any> = {role: 'user', text: text, context: []}
  var turn: dict<any> = {role: 'assistant', text: '', analysis: '', blocks: [], finish: ''}
  thread.turns += [said, turn]
  pending = {token: token, turn: turn, handle: 0}
  def Params(): dict<any>
    said.context = context.Take()
    chat_window.Render()
    var params: dict<any> = {
      thread: thread.id,
      token: token,
      text: text,
      newThread: false,
      context: said.context,
    }
    if Effort() != ''
      params.effort = Effort()
    endif
    return params
  enddef
  pending.handle = client.Request('ingle/chat', Params, (error, result) => {
    if !empty(pending) && pending.token == token
      Answered(turn, error, result)
    endif
  })
  chat_window.Render()
  return true
enddef

def Answered(turn: dict<any>, error: string, result: any)
  pending = {}
  if error != ''
    notify.Warn(error)
    turn.finish = 'error'
    TakeBack()
  else
    thread.id = result.thread
    thread.title = result.title
    turn.index = result.turn
    turn.text = result.text
    turn.finish = result.finish
    turn.blocks = get(result, 'blocks', [])
    turn.model = get(result, 'model', '')
    turn.tokens = get(result, 'tokens', 0)
    turn.speed = get(result, 'tokensPerSecond', 0.0)
    if get(result, 'note', '') != ''
      notify.Info(result.note)
    endif
  endif
  chat_window.Render()
enddef

# Nothing came of the last question: the server does not keep it, and it may be asked again.
def TakeBack()
  if thread.turns[-1].text == ''
    var question: string = thread.turns[-2].text
    thread.turns = thread.turns[: -3]
    chat_window.SetQuestion(question)
  endif
enddef

# A piece of the answer has come.
export def Delta(params: dict<any>)
  if empty(pending) || get(params, 'token', '') != pending.token
    return
  endif
  if thread.id == null
    thread.id = params.thread
  endif
  if params.channel == 'analysis'
    pending.turn.analysis ..= params.text
  else
    pending.turn.text ..= params.text
  endif
  chat_window.Render()
enddef

# Stop the answer; what was said stays. Returns whether there was one.
export def Cancel(): bool
  if empty(pending)
    return false
  endif
  client.Cancel(pending.handle)
  pending.turn.finish = 'cancelled'
  pending = {}
  TakeBack()
  chat_window.Render()
  return true
enddef

export def ToggleAnalysis()
  shows_analysis = ShowsAnalysis() ? 0 : 1
  chat_window.Render()
  notify.Info(shows_analysis == 1 ? 'the analysis is shown' : 'the analysis is hidden')
enddef

# --- threads ---------------------------------------------------------------------------------------

# Begin another thread.
export def New()
  Cancel()
  thread = {id: null, title: '', turns: []}
  Open()
  chat_window.Render()
enddef

# Open a thread by its name.
export def OpenThread(name: string)
  client.Request('ingle/chat/thread', {thread: name}, (error, result) => {
    if error != ''
      notify.Warn(error)
      return
    endif
    Cancel()
    var turns = mapnew(result.turns, (number, turn) =>
      extend({analysis: '', finish: '', blocks: [], context: [], index: number}, turn))
    thread = {id: result.thread, title: result.title, turns: turns}
    Open()
    chat_window.Render()
  })
enddef

# Ask for the threads; `Use` gets them, newest first.
def WithThreads(Use: func)
  client.Request('ingle/chat/threads', {}, (error, threads) => {
    if error != ''
      notify.Warn(error)
    else
      thread_names = mapnew(threads, (_, item) => item.thread)
      Use(threads)
    endif
  })
enddef

# The threads' names; fetched for the next time, so that completion never waits.
export def ThreadNames(): list<string>
  if client.IsReady()
    WithThreads((_) => 0)
  endif
  return thread_names
enddef

# Let the user choose a thread.
export def ChooseThread()
  WithThreads((threads) => {
    if empty(threads)
      notify.Info('there are no threads yet: `:Ingle chat` begins one')
      return
    endif
    menu.Choose('Open a thread', threads, (item) => {
      var day = get(item, 'updated', '')->strpart(0, 16)->substitute('T', ' ', '')
      return $'{item.title} ({item.turns} turns, {day})'
    }, (item) => OpenThread(item.thread))
  })
enddef

# Delete the open thread.
export def Delete(is_sure: bool)
  if thread.id == null
    notify.Info('no thread is open')
    return
  endif
  var name = thread.title == '' ? thread.id : thread.title
  if !is_sure && confirm($'Delete "{name}"?', "&Yes\n&No", 2) != 1
    return
  endif
  Cancel()
  client.Request('ingle/chat/delete', {thread: thread.id}, (error, _) => {
    if error != ''
      notify.Warn(error)
    else
      thread = {id: null, title: '', turns: []}
      chat_window.Render()
      notify.Info($'"{name}" is deleted')
    endif
  })
enddef

# --- applying --------------------------------------------------------------------------------------

# The buffer that a block goes into: the one that it names, else the one that the chat is about.
def Destination(block: dict<any>): number
  var path = get(block, 'path', '')
  if path != ''
    for buffer in getbufinfo({bufloaded: 1, buflisted: 1})
      if buffer.name == path || buffer.name[-strlen(path) - 1 :] ==# '/' .. path
        return buffer.bufnr
      endif
    endfor
  endif
  return source > 0 && bufloaded(source) ? source : 0
enddef

# Apply a block of an answer to the file that the chat is about.
export def Apply(turn: dict<any>, block: dict<any>)
  if thread.id == null || !has_key(turn, 'index')
    notify.Warn('the answer is not complete yet')
    return
  endif
  var buffer = Destination(block)
  if buffer == 0
    notify.Warn('no file to apply it to: look at one before the chat')
    return
  endif
  var name = fnamemodify(bufname(buffer), ':~:.')
  var objection = getbufvar(buffer, '&readonly') || !getbufvar(buffer, '&modifiable')
    ? $'{name} is read-only' : documents.Attach(buffer)
  if objection != ''
    notify.Warn(objection)
    return
  endif
  def Params(): dict<any>
    var windows = win_findbuf(buffer)
    var [lnum, column] = empty(windows) ? [1, 0]
      : [line('.', windows[0]), col('.', windows[0]) - 1]
    return {
      thread: thread.id,
      turn: turn.index,
      block: block.index,
      uri: positions.Uri(buffer),
      version: documents.Version(buffer),
      range: positions.At(buffer, lnum, max([0, column])),
    }
  enddef
  client.Request('ingle/chat/apply', Params, (error, result) => {
    if error != ''
      notify.Warn(error)
    elseif !result.applied
      notify.Warn(result.message == '' ? 'nothing was changed' : result.message)
    endif
  })
enddef
