vim9script

# What is done when something happens in Vim: the table of autocommands.

import autoload './client.vim'
import autoload './config.vim'
import autoload './documents.vim'
import autoload './ghost.vim'
import autoload './ghost_keys.vim'
import autoload './notify.vim'
import autoload './suggest.vim'

var is_started = false
# The buffer that is attached when the user stays in it.
var soon = 0
# Buffers without suggestions whose user was told why: b:changedtick when it was last looked at.
var told: dict<number> = {}

# Milliseconds in a buffer after which it is attached: going through many sends nothing.
const STAY = 50

# Vim has started and is drawn.
export def Start()
  if is_started
    return
  endif
  is_started = true
  for problem in config.Problems()
    notify.Warn(problem)
  endfor
  ghost.SetHighlights()
  ghost_keys.MapSuggest()
  augroup ingle
    autocmd!
    autocmd BufEnter,BufReadPost,BufNewFile * AttachSoon()
    autocmd BufFilePost,FileType * documents.Reopen(str2nr(expand('<abuf>')))
    autocmd BufWritePost * documents.Saved(str2nr(expand('<abuf>')))
    autocmd BufUnload * documents.Close(str2nr(expand('<abuf>')))
    autocmd InsertEnter * OnInsertEnter()
    autocmd TextChangedI * suggest.TextChanged()
    autocmd CursorMovedI * suggest.CursorMoved()
    autocmd TextChangedP,CompleteChanged,BufLeave,WinLeave * suggest.Forget()
    autocmd ModeChanged * suggest.ModeChanged()
    autocmd InsertLeave,CursorHold,CursorHoldI,BufLeave * documents.Sync(bufnr())
    autocmd TextChanged * OnTextChanged()
    autocmd VimResized * suggest.Forget()
    autocmd ColorScheme * ghost.SetHighlights()
    autocmd VimLeavePre * client.Quit()
  augroup END
  AttachSoon()
enddef

def AttachSoon()
  suggest.LookedAt()
  timer_stop(soon)
  soon = timer_start(STAY, (_) => Attach())
enddef

# Attach the current buffer, without a word if it is none for us.
def Attach()
  if &buftype != '' || documents.IsAttached(bufnr()) || !client.MayStart()
      || (bufname() == '' && !&modified)
    return
  endif
  var problem = client.Start()
  if problem == ''
    documents.Attach(bufnr())
  else
    notify.Warn(problem)
  endif
enddef

def OnInsertEnter()
  client.SendSettings()
  if &buftype != '' || documents.IsAttached(bufnr()) || !client.MayStart()
      || get(told, bufnr(), -1) == b:changedtick
    return
  endif
  var objection = documents.Attach(bufnr())
  if objection != ''
    if !has_key(told, bufnr())
      notify.Info($'no suggestions here: {objection}')
    endif
    told[bufnr()] = b:changedtick
  endif
enddef

def OnTextChanged()
  suggest.LookedAt()
  if client.IsAtWork()
    documents.Sync(bufnr())
  else
    # Without the server being told of each command: only what undo brought back is taken away.
    documents.Sweep(bufnr())
  endif
enddef
